--- The networks of the benchmark: what a twin's encoder looks like in the field, at the sizes that
-- are compared. `peer.py` holds the same networks for PyTorch; both must change together.
local siamese = require "siamese"
local nn = siamese.nn

local M = {}

local function conv(cin, cout, kernel, stride, padding, groups)
   return nn.Conv2d{ in_channels = cin, out_channels = cout, kernel_size = kernel,
      stride = stride or 1, padding = padding or 0, groups = groups or 1, bias = false }
end

local function conv_bias(cin, cout, kernel, padding)
   return nn.Conv2d{ in_channels = cin, out_channels = cout, kernel_size = kernel,
      padding = padding or 0 }
end

local function norm(channels)
   return nn.BatchNorm2d{ num_features = channels }
end

local function pool(kernel, stride, padding, ceil_mode)
   return nn.MaxPool2d{ kernel_size = kernel, stride = stride, padding = padding or 0,
      ceil_mode = ceil_mode or false }
end

local function conv_norm_relu(cin, cout, kernel, stride, padding, groups)
   return nn.Sequential{ conv(cin, cout, kernel, stride, padding, groups), norm(cout), nn.ReLU{} }
end

local function linear(cin, cout)
   return nn.Linear{ in_features = cin, out_features = cout }
end

--- Vinyals et al. 2016: four blocks of 64 filters.
function M.conv4()
   local layers, cin = {}, 1
   for _ = 1, 4 do
      layers[#layers + 1] = conv_norm_relu(cin, 64, 3, 1, 1)
      layers[#layers + 1] = pool(2, 2)
      cin = 64
   end
   layers[#layers + 1] = nn.Flatten{}
   return nn.Sequential(layers)
end

--- LeCun et al. 1998, with ReLU and max-pooling, at 28 x 28.
function M.lenet()
   return nn.Sequential{ conv_bias(1, 6, 5, 2), nn.ReLU{}, pool(2, 2), conv_bias(6, 16, 5),
      nn.ReLU{}, pool(2, 2), nn.Flatten{}, linear(400, 120), nn.ReLU{}, linear(120, 84) }
end

--- Koch, Zemel, Salakhutdinov 2015, at 105 x 105.
function M.koch()
   return nn.Sequential{ conv_bias(1, 64, 10), nn.ReLU{}, pool(2, 2), conv_bias(64, 128, 7),
      nn.ReLU{}, pool(2, 2), conv_bias(128, 128, 4), nn.ReLU{}, pool(2, 2),
      conv_bias(128, 256, 4), nn.ReLU{}, nn.Flatten{}, linear(9216, 4096), nn.Sigmoid{} }
end

--- Simonyan and Zisserman 2015, configuration A, to a global average.
function M.vgg11()
   local layers, cin = {}, 3
   for _, c in ipairs{ 64, "M", 128, "M", 256, 256, "M", 512, 512, "M", 512, 512, "M" } do
      if c == "M" then
         layers[#layers + 1] = pool(2, 2)
      else
         layers[#layers + 1] = conv_bias(cin, c, 3, 1)
         layers[#layers + 1] = nn.ReLU{}
         cin = c
      end
   end
   layers[#layers + 1] = nn.AdaptiveAvgPool2d{ output_size = 1 }
   layers[#layers + 1] = nn.Flatten{}
   return nn.Sequential(layers)
end

local Residual = nn.Module:extend("Residual")

--- body, then relu(norm(conv(...)) + shortcut).
function Residual:init(body, last, norm_last, shortcut)
   self.body, self.conv, self.norm, self.shortcut = body, last, norm_last, shortcut
end

function Residual:forward(x)
   local residual = self.shortcut and self.shortcut(x) or x
   return nn.conv_norm(self.conv, self.norm, self.body(x), { residual = residual, activation = "relu" })
end

local function shortcut(cin, cout, stride)
   if cin ~= cout or stride ~= 1 then
      return nn.Sequential{ conv(cin, cout, 1, stride), norm(cout) }
   end
end

local function basic(cin, cout, stride)
   return Residual(conv_norm_relu(cin, cout, 3, stride, 1), conv(cout, cout, 3, 1, 1), norm(cout),
      shortcut(cin, cout, stride)), cout
end

local function bottleneck(cin, width, stride)
   return Residual(nn.Sequential{ conv_norm_relu(cin, width, 1), conv_norm_relu(width, width, 3, stride,
      1) }, conv(width, 4 * width, 1), norm(4 * width), shortcut(cin, 4 * width, stride)), 4 * width
end

local function resnet(block, depths)
   local layers = { conv_norm_relu(3, 64, 7, 2, 3), pool(3, 2, 1) }
   local cin = 64
   for stage, depth in ipairs(depths) do
      for i = 1, depth do
         local made, cout = block(cin, 32 << stage, i == 1 and stage > 1 and 2 or 1)
         layers[#layers + 1], cin = made, cout
      end
   end
   layers[#layers + 1] = nn.AdaptiveAvgPool2d{ output_size = 1 }
   layers[#layers + 1] = nn.Flatten{}
   return nn.Sequential(layers)
end

--- He et al. 2016.
function M.resnet18()
   return resnet(basic, { 2, 2, 2, 2 })
end

function M.resnet50()
   return resnet(bottleneck, { 3, 4, 6, 3 })
end

local function conv_norm_relu6(cin, cout, kernel, stride, padding, groups)
   return nn.Sequential{ conv(cin, cout, kernel, stride, padding, groups), norm(cout), nn.ReLU6{} }
end

local Inverted = nn.Module:extend("Inverted")

function Inverted:init(cin, cout, stride, expand)
   local hidden = cin * expand
   local layers = { conv_norm_relu6(hidden, hidden, 3, stride, 1, hidden) }
   if expand ~= 1 then
      table.insert(layers, 1, conv_norm_relu6(cin, hidden, 1))
   end
   self.body, self.conv, self.norm = nn.Sequential(layers), conv(hidden, cout, 1), norm(cout)
   self.residual = stride == 1 and cin == cout
end

function Inverted:forward(x)
   return nn.conv_norm(self.conv, self.norm, self.body(x), { residual = self.residual and x or nil })
end

--- Sandler et al. 2018.
function M.mobilenet_v2()
   local layers, cin = { conv_norm_relu6(3, 32, 3, 2, 1) }, 32
   for _, row in ipairs{ { 1, 16, 1, 1 }, { 6, 24, 2, 2 }, { 6, 32, 3, 2 }, { 6, 64, 4, 2 },
      { 6, 96, 3, 1 }, { 6, 160, 3, 2 }, { 6, 320, 1, 1 } } do
      local expand, cout, count, stride = table.unpack(row)
      for i = 1, count do
         layers[#layers + 1] = Inverted(cin, cout, i == 1 and stride or 1, expand)
         cin = cout
      end
   end
   layers[#layers + 1] = conv_norm_relu6(cin, 1280, 1)
   layers[#layers + 1] = nn.AdaptiveAvgPool2d{ output_size = 1 }
   layers[#layers + 1] = nn.Flatten{}
   return nn.Sequential(layers)
end

local Inception = nn.Module:extend("Inception")

function Inception:init(cin, b1, b2a, b2, b3a, b3, b4)
   self.branch1 = conv_norm_relu(cin, b1, 1)
   self.branch2 = nn.Sequential{ conv_norm_relu(cin, b2a, 1), conv_norm_relu(b2a, b2, 3, 1, 1) }
   self.branch3 = nn.Sequential{ conv_norm_relu(cin, b3a, 1), conv_norm_relu(b3a, b3, 3, 1, 1) }
   self.branch4 = nn.Sequential{ pool(3, 1, 1, true), conv_norm_relu(cin, b4, 1) }
end

function Inception:forward(x)
   return siamese.cat({ self.branch1(x), self.branch2(x), self.branch3(x), self.branch4(x) }, 2)
end

--- Szegedy et al. 2015, with batch norm and without auxiliary heads, as torchvision's.
function M.googlenet()
   return nn.Sequential{ conv_norm_relu(3, 64, 7, 2, 3), pool(3, 2, 0, true),
      conv_norm_relu(64, 64, 1), conv_norm_relu(64, 192, 3, 1, 1), pool(3, 2, 0, true),
      Inception(192, 64, 96, 128, 16, 32, 32), Inception(256, 128, 128, 192, 32, 96, 64),
      pool(3, 2, 0, true),
      Inception(480, 192, 96, 208, 16, 48, 64), Inception(512, 160, 112, 224, 24, 64, 64),
      Inception(512, 128, 128, 256, 24, 64, 64), Inception(512, 112, 144, 288, 32, 64, 64),
      Inception(528, 256, 160, 320, 32, 128, 128), pool(2, 2, 0, true),
      Inception(832, 256, 160, 320, 32, 128, 128), Inception(832, 384, 192, 384, 48, 128, 128),
      nn.AdaptiveAvgPool2d{ output_size = 1 }, nn.Flatten{} }
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
