--- Encoders of the literature, ready to be a twin's.
-- @module siamese.models
local nn = require "siamese.nn"
local options = require "siamese.options"
local record = require "siamese.record"

local M = {}

local function conv(cin, cout, kernel, padding)
   return nn.Conv2d{ in_channels = cin, out_channels = cout, kernel_size = kernel,
      padding = padding or 0 }
end

--- The few-shot papers' encoder (Vinyals et al. 2016, Snell et al. 2017): four blocks of 3x3 convolution,
-- batch norm, ReLU and 2x2 max-pooling, then the features as they lie.
-- @tparam[opt] table opts `in_channels` (1), `width` (filters a block, 64), `embedding` (size of a linear
--   layer behind the features; none by default), `size` (height and width of the input, which that layer
--   must know; 28)
-- @treturn Module [N,C,H,W] to [N,D]; 64 features at 28 x 28
-- @usage local twin = siamese.Twin{ encoder = models.conv4{}, distance = "l2" }
function M.conv4(opts)
   local name = "models.conv4"
   local o = options.check(name, opts, { in_channels = 1, width = 64, embedding = options.optional,
      size = 28 })
   options.check_count(name, o, "in_channels", 1)
   options.check_count(name, o, "width", 1)
   options.check_count(name, o, "size", 16)
   local layers, cin = {}, o.in_channels
   for _ = 1, 4 do
      layers[#layers + 1] = conv(cin, o.width, 3, 1)
      layers[#layers + 1] = nn.BatchNorm2d{ num_features = o.width }
      layers[#layers + 1] = nn.ReLU{}
      layers[#layers + 1] = nn.MaxPool2d{ kernel_size = 2 }
      cin = o.width
   end
   layers[#layers + 1] = nn.Flatten{}
   if o.embedding then
      options.check_count(name, o, "embedding", 1)
      local side = o.size // 16
      layers[#layers + 1] = nn.Linear{ in_features = o.width * side * side,
         out_features = o.embedding }
   end
   return record.set(nn.Sequential(layers), "models.conv4", o)
end

--- LeNet-5 (LeCun, Bottou, Bengio, Haffner 1998) with ReLU and max-pooling, at 28 x 28.
-- @tparam[opt] table opts `in_channels` (1), `embedding` (84)
-- @treturn Module [N,C,28,28] to [N,embedding]
function M.lenet5(opts)
   local o = options.check("models.lenet5", opts, { in_channels = 1, embedding = 84 })
   options.check_count("models.lenet5", o, "in_channels", 1)
   options.check_count("models.lenet5", o, "embedding", 1)
   local net = nn.Sequential{ conv(o.in_channels, 6, 5, 2), nn.ReLU{}, nn.MaxPool2d{ kernel_size = 2 },
      conv(6, 16, 5), nn.ReLU{}, nn.MaxPool2d{ kernel_size = 2 }, nn.Flatten{},
      nn.Linear{ in_features = 400, out_features = 120 }, nn.ReLU{},
      nn.Linear{ in_features = 120, out_features = o.embedding } }
   return record.set(net, "models.lenet5", o)
end

--- The network of Koch, Zemel, Salakhutdinov 2015 (their Figure 4), with its initialisation (section
-- 3.2): 64 filters 10x10, 128 of 7x7, 128 of 4x4, 256 of 4x4, max-pooling after the first three, and 4096
-- sigmoid units. Goes with `nn.WeightedL1{ features = 4096 }` as the twin's head.
-- @tparam[opt] table opts `in_channels` (1), `filters` ({64, 128, 128, 256}), `features` (4096)
-- @treturn Module [N,C,105,105] to [N,features]
-- @usage local twin = siamese.Twin{ encoder = models.koch{}, head = nn.WeightedL1{ features = 4096 } }
function M.koch(opts)
   local name = "models.koch"
   local o = options.check(name, opts, { in_channels = 1, filters = { 64, 128, 128, 256 },
      features = 4096 })
   options.check_count(name, o, "in_channels", 1)
   options.check_count(name, o, "features", 1)
   if type(o.filters) ~= "table" or #o.filters ~= 4 then
      error("models.koch: filters must be four integers, got " .. options.text(o.filters), 2)
   end
   local a, b, c, d = table.unpack(o.filters)
   local net = nn.init.koch_(nn.Sequential{
      conv(o.in_channels, a, 10), nn.ReLU{}, nn.MaxPool2d{ kernel_size = 2 },
      conv(a, b, 7), nn.ReLU{}, nn.MaxPool2d{ kernel_size = 2 },
      conv(b, c, 4), nn.ReLU{}, nn.MaxPool2d{ kernel_size = 2 },
      conv(c, d, 4), nn.ReLU{}, nn.Flatten{},
      nn.Linear{ in_features = d * 36, out_features = o.features }, nn.Sigmoid{} })
   return record.set(net, "models.koch", o)
end

for _, name in ipairs{ "conv4", "lenet5", "koch" } do
   record.register("models." .. name, M[name])
end

return M
