--- Our half of torchvision_parity.py: one network against what torchvision's gave.
--
--    lua5.4 tools/torchvision_parity.lua values|gradients NAME FOLDER
--
-- prints the largest error of each kind, and last the largest of all.
local siamese = require "siamese"

local what, name, folder = table.unpack(arg)
local WITH_HEADS = { googlenet = true, inception_v3 = true }

local function load(kind)
   return assert(siamese.load(("%s/%s.safetensors"):format(folder, kind)))
end

--- The network, or of "network:headless" it without auxiliary heads, or of "network:child" a child.
local function make()
   local short, part = name:match("^([^:]+):?(.*)$")
   local o = { num_classes = 1000 }
   if not short:find("^resnet") then
      o.dropout = 0
   end
   if WITH_HEADS[short] then
      o.aux_logits, o.transform_input = part ~= "headless", true
   end
   if short == "googlenet" then
      o.dropout_aux = 0
   end
   local net = siamese.models[short](o)
   return part ~= "" and part ~= "headless" and net[part] or net
end

local worst = {}

local function note(kind, key, error)
   if not worst[kind] or error > worst[kind][1] or error ~= error then
      worst[kind] = { error, key }
   end
end

--- Notes how far `got` is from `want`, relative to the largest of `want`.
local function compare(kind, key, got, want)
   want = want:reshape(got.shape)
   local largest = math.max(want:abs():max():item(), 1e-30)
   note(kind, key, (got:detach():float() - want):abs():max():item() / largest)
end

local function compare_values(net, want)
   compare("evaluation", "output", siamese.no_grad(net:eval(), want.input), want.evaluated)
   local outputs = { siamese.no_grad(net:train(), want.input) }
   for k, y in ipairs(outputs) do
      compare("training", "output " .. k, y, want["trained." .. k - 1])
   end
   assert(not want["trained." .. #outputs], "too few outputs")
   for key, tensor in net:named_buffers() do
      compare("statistics", key, tensor, want["buffer." .. key])
   end
end

local function owner(key)
   return key:match("^(.*)%.[^.]+$") or ""
end

--- The largest norm of a gradient among each module's own: that of a bias ahead of a norm is zero but for
-- rounding, which is no less for that.
local function norms(want)
   local scales = {}
   for key, tensor in pairs(want) do
      local of = key:match("^gradient%.(.*)")
      if of then
         scales[owner(of)] = math.max(scales[owner(of)] or 0, tensor:norm():item())
      end
   end
   return scales
end

local function compare_gradients(net, want)
   local x, loss = want.input:clone():requires_grad_(), nil
   for k, y in ipairs{ net:train()(x) } do
      local part = (y * want["weights." .. k - 1]):sum()
      loss = loss and loss + part or part
   end
   loss:backward()
   local scales = norms(want)
   local function look(key, gradient)
      note("gradients", key, (gradient - want["gradient." .. key]):norm():item() / scales[owner(key)])
   end
   look("input", x.grad)
   for key, tensor in net:named_parameters() do
      look(key, tensor.grad)
   end
end

local net = make()
net:load_state_dict(load("weights"), { strict = true })
if what == "values" then
   compare_values(net, load("values"))
else
   compare_gradients(net, load("gradients"))
end

local line, largest = what == "values" and { ("%-18s"):format(name) } or {}, 0
for _, kind in ipairs{ "evaluation", "training", "statistics", "gradients" } do
   local found = worst[kind]
   if found then
      line[#line + 1] = ("%s %.1e (%s)"):format(kind, found[1], found[2])
      largest = found[1] <= largest and largest or found[1]
   end
end
print(table.concat(line, "  ") .. (" %.2e"):format(largest))
