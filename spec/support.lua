--- What the specs share: closeness, finite differences, strided copies, paths, golden values.
local siamese = require "siamese"

local M = {}

--- Raises unless a and b agree to rtol * |b| + atol everywhere.
function M.close(a, b, rtol, atol)
   rtol, atol = rtol or 1e-5, atol or 1e-6
   if type(b) ~= "userdata" then
      b = siamese.tensor(b)
   end
   if type(a) ~= "userdata" then
      a = siamese.tensor(a)
   end
   a, b = a:detach():float(), b:detach():float()
   local sa, sb = table.concat(a.shape, ","), table.concat(b.shape, ",")
   if sa ~= sb then
      error(("shapes differ: [%s] and [%s]"):format(sa, sb), 2)
   end
   if a:numel() == 0 then
      return
   end
   if not (a:isnan() == b:isnan()) then
      error(("NaN in different places:\n%s\n%s"):format(a, b), 2)
   end
   local infinite = a:eq(b)
   local difference = siamese.where(infinite, siamese.zeros(1), (a - b):abs())
   difference = difference:masked_fill(a:isnan(), 0)
   local excess = (difference - (b:abs() * rtol):masked_fill(infinite, 0) - atol)
      :masked_fill(a:isnan(), -1)
   if excess:max():item() > 0 then
      error(("differ by up to %g (allowed: %g relative, %g absolute):\n%s\n%s"):format(
         difference:max():item(), rtol, atol, a, b), 2)
   end
end

--- The same values as t, in every second element of a larger block.
function M.noncontiguous(t)
   local shape, index = { table.unpack(t.shape) }, {}
   for d = 1, #shape do
      index[d] = {}
   end
   shape[#shape + 1], index[#index + 1] = 2, 2
   return t:unsqueeze(-1):expand(shape):contiguous()[index]
end

local function sum_of(values, weights)
   local total
   for i, value in ipairs(values) do
      local part = (value * weights[i]):sum()
      total = total and total + part or part
   end
   return total
end

--- Compares the gradients of fn with central differences.
-- @tparam function fn from tensors to one or more float32 tensors
-- @tparam table inputs float32 tensors; `false` in opts.wrt[i] leaves one out
-- @tparam[opt] table opts eps (default 1e-2), rtol (2e-2), atol (2e-3), wrt
function M.gradcheck(fn, inputs, opts)
   opts = opts or {}
   local eps, rtol, atol = opts.eps or 1e-2, opts.rtol or 2e-2, opts.atol or 2e-3
   local leaves = {}
   for i, t in ipairs(inputs) do
      local wanted = t.dtype == "float32" and not (opts.wrt and opts.wrt[i] == false)
      leaves[i] = t.dtype == "float32" and t:detach():clone():requires_grad_(wanted) or t
   end
   local outputs, weights = { fn(table.unpack(leaves)) }, {}
   local state = siamese.get_rng_state()
   siamese.manual_seed(12345)
   for i, value in ipairs(outputs) do
      weights[i] = siamese.randn(value.shape)
   end
   siamese.set_rng_state(state)
   sum_of(outputs, weights):backward()
   local function value_at()
      return siamese.no_grad(function()
         return sum_of({ fn(table.unpack(leaves)) }, weights):item()
      end)
   end
   for i, leaf in ipairs(leaves) do
      if leaf.requires_grad then
         local grad = leaf.grad or siamese.zeros_like(leaf)
         local flat, gradient = leaf:detach():view(leaf:numel()), grad:reshape(leaf:numel()):totable()
         for k = 1, leaf:numel() do
            local kept = flat[k]:item()
            flat[k] = kept + eps
            local above = value_at()
            flat[k] = kept - eps
            local below = value_at()
            flat[k] = kept
            local numeric = (above - below) / (2 * eps)
            if not (math.abs(numeric - gradient[k]) <= rtol * math.abs(numeric) + atol) then
               error(("gradient of operand %d, element %d: %g, finite differences give %g"):format(
                  i, k, gradient[k], numeric), 2)
            end
         end
      end
   end
end

--- Runs fn(name) under every instruction set that the machine has.
function M.each_isa(fn)
   local core = siamese.core
   local before = core.isa()
   for _, name in ipairs{ "ref", "avx2", "avx512" } do
      if core.set_isa(name) == name then
         local ok, message = pcall(fn, name)
         core.set_isa(before)
         if not ok then
            error(name .. ": " .. tostring(message), 2)
         end
      end
   end
   core.set_isa(before)
end

--- The table of spec/golden/NAME.lua.
function M.golden(name)
   return dofile("spec/golden/" .. name .. ".lua")
end

--- A tensor of a golden entry {shape = {...}, data = {...}, dtype = }.
function M.tensor(entry)
   return siamese.tensor(entry.data, { dtype = entry.dtype or "float32" }):reshape(entry.shape)
end

--- Asserts that f fails with a message that contains `text`.
function M.fails(text, f, ...)
   local ok, message = pcall(f, ...)
   if ok then
      error("expected an error like: " .. text, 2)
   elseif not tostring(message):find(text, 1, true) then
      error(("expected an error like: %s\ngot: %s"):format(text, message), 2)
   end
end

return M
