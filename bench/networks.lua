--- The networks of the benchmark: what a twin's encoder looks like in the field, at the sizes that
-- are compared. They are the zoo's; `peer.py` holds the same networks for PyTorch, and both must change
-- together.
local models = require "siamese".models

local M = {}

--- Vinyals et al. 2016: four blocks of 64 filters, without the biases that a norm takes away again.
function M.conv4()
   return models.conv4{ bias = false }
end

--- LeCun et al. 1998, with ReLU and max-pooling, at 28 x 28.
function M.lenet()
   return models.lenet5{}
end

--- The others to their own features, as the zoo builds them.
for _, name in ipairs{ "koch", "vgg11", "resnet18", "resnet50", "mobilenet_v2", "googlenet" } do
   M[name] = models[name]
end

--- Name, pairs in a batch, image shape.
M.table = {
   { name = "conv4", batch = 64, shape = { 1, 28, 28 } },
   { name = "lenet", batch = 64, shape = { 1, 28, 28 } },
   { name = "koch", batch = 16, shape = { 1, 105, 105 } },
   { name = "vgg11", batch = 8, shape = { 3, 112, 112 } },
   { name = "resnet18", batch = 16, shape = { 3, 112, 112 } },
   { name = "resnet50", batch = 8, shape = { 3, 112, 112 } },
   { name = "mobilenet_v2", batch = 16, shape = { 3, 112, 112 } },
   { name = "googlenet", batch = 8, shape = { 3, 112, 112 } },
}

return M
