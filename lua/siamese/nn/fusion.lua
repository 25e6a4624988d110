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

local function folded(conv, norm, x, residual, activation)
   local padded = conv:pad(x)
   return let_go(padded, not rawequal(padded, x), F.conv2d_norm(padded, conv.weight, conv.bias,
      norm.running_mean, norm.running_var, norm.weight, norm.bias, residual, norm.options.eps,
      conv.fused_options[activation] or conv.call_options))
end

local ACTIVATIONS = { relu = F.relu, relu6 = F.relu6 }

--- norm(conv(x)) + residual and, of the activations, what can be fused with them: its name.
local function conv_norm(conv, norm, x, residual, fusable)
   local traced = Module.is_traced()
   if not traced and folds(conv, norm) then
      return folded(conv, norm, x, residual, fusable), fusable
   elseif not traced and is(norm, "fuses_activation") then
      local y = conv(x)
      return let_go(y, is(conv, "plain") and not rawequal(x, y),
         norm(y, { residual = residual, activation = fusable })), fusable
   end
   local y = norm(conv(x))
   return residual and y + residual or y
end

--- activation(norm(conv(x)) + residual): a block of a residual network, in one pass behind the convolution
-- in training and in no pass at all in evaluation without a graph.
-- @tparam Module conv
-- @tparam Module norm
-- @tparam Tensor x
-- @tparam[opt] table fused `residual`, a tensor of the result's shape; `activation`, "relu", "relu6" or a
--   module
-- @treturn Tensor
-- @usage local y = nn.conv_norm(self.conv2, self.norm2, h, { residual = x, activation = self.relu })
function M.conv_norm(conv, norm, x, fused)
   local activation = fused and fused.activation
   local name, activate = activation, ACTIVATIONS[activation]
   if type(activation) == "string" and not activate then
      core.raise(("nn.conv_norm: activation must be 'relu', 'relu6' or a module, got '%s'")
         :format(activation))
   elseif type(activation) == "table" then
      name, activate = is(activation, "is_activation") and activation.activation or nil, activation
   end
   local y, done = conv_norm(conv, norm, x, fused and fused.residual, name)
   return activate and not done and activate(y) or y
end

local run

--- Goes on behind a sequence within the sequence.
local function go_on(children, i, fresh, ...)
   return run(children, i, fresh, ...)
end

--- Runs children i, i + 1, ...; `fresh` says that the first value came from a plain child. Returns that
-- of the result ahead of the result.
function run(children, i, fresh, x, ...)
   local child = children[i]
   if not child then
      return fresh, x, ...
   end
   local layer = child[2]
   local second, third = children[i + 1], children[i + 2]
   second, third = second and second[2], third and third[2]
   if second and folds(layer, second) then
      local activation = third and is(third, "is_activation") and third.activation
      return run(children, activation and i + 3 or i + 2, true,
         let_go(x, fresh, folded(layer, second, x, nil, activation)))
   elseif second and is(layer, "fuses_activation") and is(second, "is_activation") then
      return run(children, i + 2, true, let_go(x, fresh, layer:forward(x, FUSED[second.activation])))
   elseif is(layer, "is_sequence") then
      return go_on(children, i + 1, run(layer:children(), 1, fresh, x, ...))
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
   return select(2, run(children, 1, false, ...))
end

--- Runs modules one after another, as `nn.Sequential` does: for the forward of a network whose layers are
-- fields of their own.
-- @tparam {Module,...} modules
-- @param ... what the first one takes
-- @return what the last one gives
-- @usage return nn.chain({ self.conv, self.norm, self.relu }, x)
function M.chain(modules, ...)
   local children = {}
   for i, module in ipairs(modules) do
      children[i] = { i, module }
   end
   return M.run(children, ...)
end

--- The children ahead of a convolution and a norm at the end, where a sequence, or one at its end, ends so.
local function split(children)
   local n = #children
   local last = n > 0 and children[n][2]
   if last and is(last, "is_sequence") then
      local ahead, conv, norm = split(last:children())
      return ahead and table.move(ahead, 1, #ahead, n, table.move(children, 1, n - 1, 1, {})), conv, norm
   elseif n > 1 and is(last, "is_norm") then
      return table.move(children, 1, n - 2, 1, {}), children[n - 1][2], last
   end
end

--- activation(sequence(x) + residual), the sum in one pass with a convolution and a batch norm at the
-- sequence's end.
-- @tparam Module sequence
-- @tparam Tensor x
-- @tparam table fused `residual`, a tensor of the result's shape; `activation`, "relu", "relu6" or a module
-- @treturn Tensor
-- @usage local y = nn.residual(self.block, x, { residual = x })
function M.residual(sequence, x, fused)
   local ahead, conv, norm
   if is(sequence, "is_sequence") and not Module.is_traced() then
      ahead, conv, norm = split(sequence:children())
   end
   if not ahead then
      local y = sequence(x) + fused.residual
      local activate = ACTIVATIONS[fused.activation] or fused.activation
      return activate and activate(y) or y
   end
   local fresh, h = run(ahead, 1, false, x)
   return let_go(h, fresh and is(conv, "plain"), M.conv_norm(conv, norm, h, fused))
end

return M
