--- Our half of onnx_check.py: exports a network or a layer, with what it gives.
--
--    lua5.4 tools/onnx_check.lua list
--    lua5.4 tools/onnx_check.lua NAME FOLDER
--
-- writes FOLDER/model.onnx and FOLDER/values.safetensors: an input and the outputs of it for a batch of one
-- and one of three.
local siamese = require "siamese"

local nn, models = siamese.nn, siamese.models
local F = nn.functional

local names, cases = {}, {}

--- A case: `make` gives the module, `shape` is an input's without the batch.
local function add(name, shape, make, opts)
   names[#names + 1] = name
   cases[name] = { shape = shape, make = make, opts = opts or {} }
end

--- A case of a function.
local function add_function(name, shape, fn, opts)
   local class = nn.Module:extend("Function")
   function class:forward(...) -- luacheck: ignore self
      return fn(...)
   end
   add(name, shape, class, opts)
end

-- Networks

local function network(name, shape, o)
   add(name, shape, function()
      return models[name:match("^[%w_]+")](o)
   end)
end

network("lenet5", { 1, 28, 28 })
network("conv4", { 1, 28, 28 })
network("conv4 (embedding)", { 3, 40, 33 }, { in_channels = 3, size = { 40, 33 }, embedding = 32 })
network("koch", { 1, 105, 105 })
network("mlp", { 1, 28, 28 }, { in_features = 784 })
for _, depth in ipairs{ 11, 13, 16, 19 } do
   network(("vgg%d"):format(depth), { 3, 64, 64 }, { embedding = 128 })
   network(("vgg%d_bn"):format(depth), { 3, 64, 64 })
end
network("vgg11 (classes)", { 3, 96, 96 }, { num_classes = 10 })
for _, depth in ipairs{ 18, 34, 50, 101, 152 } do
   network(("resnet%d"):format(depth), { 3, 224, 224 }, { embedding = 128 })
end
for _, depth in ipairs{ 20, 32, 44, 56, 110 } do
   for _, shortcut in ipairs{ "A", "B" } do
      network(("resnet%d (%s)"):format(depth, shortcut), { 3, 32, 32 }, { shortcut = shortcut })
   end
end
network("googlenet", { 3, 224, 224 }, { transform_input = true })
network("inception_v3", { 3, 299, 299 }, { transform_input = true })
network("mobilenet_v1", { 3, 224, 224 })
network("mobilenet_v2", { 3, 224, 224 })
network("mobilenet_v3_small", { 3, 224, 224 })
network("mobilenet_v3_large", { 3, 224, 224 }, { num_classes = 10 })
for _, cell in ipairs{ "rnn", "gru", "lstm" } do
   for _, pool in ipairs{ "last", "mean", "max" } do
      network(("sequence_encoder (%s, %s)"):format(cell, pool), { 9, 3 }, { in_features = 3, cell = cell,
         pool = pool, hidden_size = 17, num_layers = 2, bidirectional = pool == "last" and cell ~= "rnn" })
   end
end

-- Layers

local function layer(text, shape, o, opts)
   local name = text:match("^%w+")
   add(text, shape, function()
      return nn[name](o)
   end, opts)
end

local function convolution(o)
   local out = { in_channels = 4, out_channels = 6, kernel_size = 3 }
   for key, value in pairs(o) do
      out[key] = value
   end
   return out
end

layer("Conv2d (groups, dilation)", { 4, 13, 11 }, convolution{ groups = 2, dilation = 2, stride = { 2, 1 },
   padding = { 1, 3 } })
layer("Conv2d (same)", { 4, 13, 11 }, convolution{ padding = "same", bias = false })
for _, mode in ipairs{ "reflect", "replicate", "circular" } do
   layer(("Conv2d (%s)"):format(mode), { 4, 13, 11 }, convolution{ padding = { 2, 1 }, padding_mode = mode })
end
layer("Conv1d", { 4, 21 }, convolution{ padding = 2, stride = 2, dilation = 2, groups = 2 })
layer("ConvTranspose2d", { 4, 7, 5 }, convolution{ stride = { 2, 3 }, padding = 1, output_padding = { 1, 0 },
   groups = 2, dilation = 2 })
layer("ConvTranspose2d (output_padding)", { 4, 7, 5 }, convolution{ output_padding = 1, dilation = 2 })
layer("BatchNorm2d", { 5, 6, 7 }, { num_features = 5 })
layer("BatchNorm2d (affine=false)", { 5, 6, 7 }, { num_features = 5, affine = false, eps = 1e-2 })
layer("BatchNorm1d", { 5 }, { num_features = 5 })
layer("BatchNorm1d (sequence)", { 5, 8 }, { num_features = 5 })
layer("LayerNorm", { 3, 4, 6 }, { normalized_shape = { 4, 6 } })
layer("LayerNorm (no affine)", { 3, 6 }, { normalized_shape = 6, elementwise_affine = false, eps = 1e-2 })
layer("GroupNorm", { 6, 5, 4 }, { num_groups = 3, num_channels = 6 })
layer("GroupNorm (no affine)", { 6, 5 }, { num_groups = 2, num_channels = 6, affine = false })
layer("InstanceNorm2d", { 6, 5, 4 }, { num_features = 6, affine = true })
layer("InstanceNorm1d", { 6, 9 }, { num_features = 6 })
layer("InstanceNorm2d (tracking)", { 6, 5, 4 }, { num_features = 6, track_running_stats = true })
layer("LocalResponseNorm", { 7, 4, 5 }, { size = 5, alpha = 0.1, beta = 0.7, k = 1.5 })
layer("LocalResponseNorm (even)", { 7, 4, 5 }, { size = 4, alpha = 0.1, beta = 0.7, k = 1.5 })
layer("Linear", { 5 }, { in_features = 5, out_features = 3 })
layer("Linear (sequence)", { 4, 5 }, { in_features = 5, out_features = 3, bias = false })
layer("L2Normalize", { 8 }, {})
layer("GeM", { 5, 6, 7 }, {})
for _, name in ipairs{ "Identity", "ReLU", "ReLU6", "Sigmoid", "Tanh", "SiLU", "Hardsigmoid", "Hardswish",
   "ELU", "Softplus", "GELU", "LeakyReLU" } do
   layer(name, { 3, 40 }, {})
end
layer("GELU (tanh)", { 40 }, { approximate = "tanh" })
layer("Softplus (beta)", { 40 }, { beta = 3, threshold = 4 })
layer("Softmax", { 3, 40 }, { dim = 2 })
layer("PReLU", { 5, 4, 3 }, { num_parameters = 5 })
layer("Dropout", { 9 }, {})
layer("Flatten", { 3, 4, 5 }, {})
layer("Flatten (last)", { 3, 4, 5 }, { start_dim = 3, end_dim = -1 })
for _, kind in ipairs{ "Max", "Avg" } do
   layer(kind .. "Pool2d", { 3, 11, 12 }, { kernel_size = { 3, 2 }, stride = 2, padding = 1 })
   layer(kind .. "Pool2d (ceil)", { 3, 11, 12 }, { kernel_size = 3, stride = 2, ceil_mode = true })
   layer(kind .. "Pool2d (ceil, padding)", { 3, 12, 14 }, { kernel_size = 4, stride = { 3, 4 }, padding = 1,
      ceil_mode = true })
   layer(kind .. "Pool2d (ceil, last window outside)", { 3, 5, 5 }, { kernel_size = 2, stride = 3,
      padding = 1, ceil_mode = true })
   layer(kind .. "Pool1d (ceil)", { 3, 14 }, { kernel_size = 4, stride = 3, padding = 2, ceil_mode = true })
   layer("Adaptive" .. kind .. "Pool2d (1)", { 3, 7, 5 }, { output_size = 1 })
   layer("Adaptive" .. kind .. "Pool2d (even)", { 3, 8, 6 }, { output_size = { 4, 2 } })
   layer("Adaptive" .. kind .. "Pool2d (uneven)", { 3, 7, 5 }, { output_size = { 3, 4 } })
   layer("Adaptive" .. kind .. "Pool2d (up)", { 3, 2, 2 }, { output_size = 5 })
   layer("Adaptive" .. kind .. "Pool1d", { 3, 7 }, { output_size = 3 })
end
layer("MaxPool2d (dilation)", { 3, 11, 12 }, { kernel_size = 3, dilation = 2, padding = 1 })
layer("AvgPool2d (padding not counted)", { 3, 11, 12 }, { kernel_size = 3, padding = 1, stride = 2,
   ceil_mode = true, count_include_pad = false })
layer("Embedding", { 7 }, { num_embeddings = 12, embedding_dim = 5 }, { indices = 12 })

-- Functions and modules of one's own

add_function("arithmetic", { 6, 5 }, function(x)
   local y = (x * 2 + 1) / (x:abs() + 0.5) - x ^ 2
   return y:maximum(x):minimum(3) + x:exp():log1p() - x:expm1():clamp(-0.5, 2) + (-x):square():sqrt()
      + x:sin() * x:cos() + x:erf() + x:sign() + x:floor() + x:ceil() + x:round()
      + (x:abs() + 1):reciprocal()
end)
add_function("remainders", { 40 }, function(x)
   return x:remainder(0.7) + x:floor_divide(0.3)
end)
add_function("masks", { 6, 5 }, function(x)
   local mask = x:gt(0)
   return siamese.where(mask, x, x * 0.1) + x:masked_fill(x:le(-1), 7) + x:ne(0):float()
      + x:isfinite():float() + x:isnan():float() + x:eq(x):float()
end)
add_function("reductions", { 6, 5 }, function(x)
   return siamese.cat({ x:sum(3), x:mean(3), x:amax(3), x:amin(3), x:prod(3), x:logsumexp(3), x:var(3),
      x:std(3, { unbiased = false }), x:norm(1, 3), x:norm(2, 3), x:norm(3, 3), x:norm(math.huge, 3),
      x:sum({ 2, 3 }, true):squeeze(3) }, 2)
end)
add_function("extremes", { 6, 5 }, function(x)
   local values, at = x:max(3)
   local first, where = x:topk(2, 3)
   return values, at, first, where, x:argmin(2), x:cumsum(3), (x:sort(3))
end)
add_function("views", { 6, 8 }, function(x)
   local n = x:size(1)
   local y = x:view(n, 2, 3, 8):permute(1, 3, 2, 4):reshape(n * 3, 16):view(n, 3, 16)
   return siamese.stack({ y:transpose(2, 3):narrow(2, 3, 4), y[{ {}, {}, { 1, 4 } }]:transpose(2, 3) }, 2)
      :flatten(2) + y:select(2, 1):unsqueeze(2):expand(-1, 12, -1):narrow(3, 1, 2):flatten(2)
end)
add_function("shapes", { 6, 8 }, function(x)
   local n = x:size(1)
   return siamese.cat({ x:reshape(n * 6, 8), siamese.ones(n * 6, 3) * x:reshape(-1, 8):narrow(2, 1, 1),
      x:narrow(2, 1, 1):expand(n, 6, 8):reshape(-1, 8) }, 2):reshape(n, -1),
      siamese.cat({ x, siamese.zeros(n, 2, 8) }, 2)
end)
add_function("products", { 6, 8 }, function(x)
   local w = x:transpose(2, 3)
   return x:matmul(w), x:matmul(siamese.arange(8) / 8), F.linear(x, siamese.eye(8):narrow(1, 1, 3)),
      F.cosine_similarity(x:flatten(2), x:flatten(2) + 1), F.pairwise_distance(x:flatten(2), x:flatten(2) * 2)
end)
add_function("indices", { 6, 8 }, function(x)
   local at = x:argmax(3)
   return x:index_select(3, siamese.tensor({ 3, 1, 8 }, { dtype = "int64" })), x:gather(3, at:unsqueeze(3)),
      siamese.one_hot(at, 8), x:scatter_add(3, at:unsqueeze(3), x:narrow(3, 1, 1))
end)
add_function("padding", { 2, 6, 5 }, function(x)
   return F.pad(x, { 1, 2, 0, 3 }, "constant", 0.5), F.pad(x, { 1, 2, 2, 3 }, "reflect"),
      F.pad(x, { 1, 2 }, "replicate"), F.pad(x, { 1, 0, 2, 3 }, "circular"), F.pad(x, { -1, 2, 0, -1 })
end)
add_function("fused", { 4, 6, 5 }, function(x)
   local y = F.conv2d(x, siamese.ones(4, 4, 1, 1), nil, { activation = "relu6" })
   return F.batch_norm(y, siamese.zeros(4), siamese.ones(4), nil, nil, { activation = "relu", residual = x })
end)
add("LSTM (state, time first)", { 5 }, function()
   return nn.LSTM{ input_size = 5, hidden_size = 7, num_layers = 2, bidirectional = true }
end, { steps = 6 })
add("GRU (no bias)", { 6, 5 }, function()
   return nn.GRU{ input_size = 5, hidden_size = 7, batch_first = true, bias = false }
end)
add("RNN (relu)", { 6, 5 }, function()
   return nn.RNN{ input_size = 5, hidden_size = 7, batch_first = true, nonlinearity = "relu" }
end)
add("Twin", { 3, 32, 32 }, function()
   return siamese.Twin{ encoder = models.resnet20(), preprocess = { size = 32, mean = 0.5, std = 0.25 } }
end)

-- Running one

local function make_input(case, n)
   if case.opts.indices then
      return siamese.randint(1, case.opts.indices, n, table.unpack(case.shape))
   elseif case.opts.steps then
      return siamese.randn(case.opts.steps, n, table.unpack(case.shape))
   end
   return siamese.randn(n, table.unpack(case.shape))
end

--- Statistics and norms' weights that are not those that networks start with.
local function disturb(net)
   for name, tensor in net:named_buffers() do
      if name:find("running_mean$") then
         tensor:normal_(0, 0.2)
      elseif name:find("running_var$") then
         tensor:uniform_(0.5, 1.5)
      end
   end
   siamese.no_grad(function()
      net:apply(function(module)
         if module.num_batches_tracked and module.weight then
            module.weight:uniform_(0.5, 1.2)
            module.bias:normal_(0, 0.1)
         end
      end)
   end)
end

local function flat(list, value)
   if siamese.is_tensor(value) then
      list[#list + 1] = value
   else
      for _, item in ipairs(value) do
         flat(list, item)
      end
   end
   return list
end

local function run(name, folder)
   local case = assert(cases[name], "no such case")
   siamese.manual_seed(7)
   local net = case.make{}
   disturb(net)
   local example = make_input(case, 2)
   assert(siamese.onnx.export(folder .. "/model.onnx", net, { input = case.opts.indices and example
      or example.shape, batch_dim = case.opts.steps and 2 or 1 }))
   net:eval()
   local values = {}
   for _, n in ipairs{ 1, 3 } do
      local x = make_input(case, n)
      values[("input.%d"):format(n)] = x
      local encoder = net.encoder or net
      for k, y in ipairs(flat({}, { siamese.no_grad(encoder, x) })) do
         values[("output.%d.%d"):format(n, k - 1)] = y:clone()
      end
   end
   assert(siamese.save(folder .. "/values.safetensors", values))
end

if arg[1] == "list" then
   print(table.concat(names, "\n"))
else
   run(arg[1], arg[2])
end
