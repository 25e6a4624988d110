--- Running layers one after another in as few passes over memory as give the same result, and letting go of
-- what lies between them. A layer takes part only with the forward it was made with: a subclass that has
-- its own is called like any other module.
-- @module siamese.nn.fusion
local core = require "siamese.core"
local Module = require "siamese.nn.module"

local F = core.F
local M = {}

local FUSED = { relu = { activation = "relu" }, relu6 = { activation = "relu6" } }

--- Whether `module` has the mark, and still the forward that it was set for.
local function is(module, mark)
   local forward = module[mark]
   return forward ~= nil and forward == module.forward
end

--- Whether a convolution and the batch norm behind it are one map: in evaluation, without a graph.
local function folds(conv, norm)
   return is(conv, "folds_norm") and is(norm, "is_norm") and not norm.training
      and norm.options.track_running_stats and not core.is_grad_enabled()
end

--- Frees x, if it was made between two layers that keep nothing and is not what came out.
local function let_go(x, fresh, y, ...)
   if fresh and not rawequal(x, y) then
      x:free()
   end
   return y, ...
end

local function folded(conv, norm, x, fused)
   local padded = conv:pad(x)
   return let_go(padded, not rawequal(padded, x), F.conv2d_norm(padded, conv.weight, conv.bias,
      norm.running_mean, norm.running_var, norm.weight, norm.bias, fused and fused.residual,
      norm.options.eps, fused and conv.fused_options[fused.activation] or conv.call_options))
end

local ACTIVATIONS = { relu = F.relu, relu6 = F.relu6 }

--- activation(norm(conv(x)) + residual): a block of a residual network, in one pass behind the convolution
-- in training and in no pass at all in evaluation without a graph.
-- @tparam Module conv
-- @tparam Module norm
-- @tparam Tensor x
-- @tparam[opt] table fused `residual`, a tensor of the result's shape; `activation`, "relu" or "relu6"
-- @treturn Tensor
-- @usage local y = nn.conv_norm(self.conv2, self.norm2, h, { residual = x, activation = "relu" })
function M.conv_norm(conv, norm, x, fused)
   if not Module.is_traced() and folds(conv, norm) then
      return folded(conv, norm, x, fused)
   elseif is(norm, "fuses_activation") then
      local y = conv(x)
      return let_go(y, is(conv, "plain") and not rawequal(x, y), norm(y, fused))
   end
   local y = norm(conv(x))
   if fused and fused.residual then
      y = y + fused.residual
   end
   return fused and fused.activation and ACTIVATIONS[fused.activation](y) or y
end

--- Runs children i, i + 1, ...; `fresh` says that the first value came from a plain child.
local function run(children, i, fresh, x, ...)
   local child = children[i]
   if not child then
      return x, ...
   end
   local layer = child[2]
   local second, third = children[i + 1], children[i + 2]
   second, third = second and second[2], third and third[2]
   if second and folds(layer, second) then
      local activation = third and is(third, "is_activation") and third.activation
      return run(children, activation and i + 3 or i + 2, true,
         let_go(x, fresh, folded(layer, second, x, FUSED[activation])))
   elseif second and is(layer, "fuses_activation") and is(second, "is_activation") then
      return run(children, i + 2, true, let_go(x, fresh, layer:forward(x, FUSED[second.activation])))
   elseif is(layer, "plain") and select("#", ...) == 0 then
      local y = layer(x)
      return run(children, i + 1, fresh or not rawequal(x, y), let_go(x, fresh, y))
   end
   return run(children, i + 1, false, layer(x, ...))
end

local function run_each(children, i, ...)
   local child = children[i]
   if child then
      return run_each(children, i + 1, child[2](...))
   end
   return ...
end

--- The values that the children give, one after another.
function M.run(children, ...)
   if Module.is_traced() then
      return run_each(children, 1, ...)
   end
   return run(children, 1, false, ...)
end

return M
