--- Our half of the benchmark: the same requests as peer.py's, on standard input.
local siamese = require "siamese"
local networks = require "bench.networks"

local nn = siamese.nn

local bench = {}

function bench.load(name, batch, c, h, w, threads)
   siamese.set_threads(threads // 1 | 0)
   siamese.manual_seed(0)
   bench.net = networks[name]()
   bench.a = siamese.randn(batch // 1 | 0, c // 1 | 0, h // 1 | 0, w // 1 | 0)
   bench.b = siamese.randn(bench.a.shape)
   local same = {}
   for i = 1, #bench.a do
      same[i] = (i + 1) % 2
   end
   bench.same = siamese.tensor(same)
   bench.twin = siamese.Twin{ encoder = bench.net, distance = "l2" }
   bench.loss = siamese.losses.Contrastive{ margin = 1 }
   bench.sgd = siamese.optim.SGD(bench.net:parameters(), { lr = 1e-4, momentum = 0.9 })
   bench.step()
   bench.embed()
   return bench.net:summary{ input = { 1, c // 1 | 0, h // 1 | 0, w // 1 | 0 } }.multiply_adds
end

function bench.step()
   bench.twin:train()
   bench.sgd:zero_grad()
   bench.loss(bench.twin(bench.a, bench.b), bench.same):backward()
   bench.sgd:step()
end

function bench.embed()
   bench.twin:eval()
   siamese.no_grad(bench.net, bench.a)
end

local makers = {}

function makers.conv2d(channels, _, out, kernel, stride, padding, groups)
   return nn.Conv2d{ in_channels = channels, out_channels = out, kernel_size = kernel, stride = stride,
      padding = padding, groups = groups, bias = false }
end

function makers.max_pool2d(_, _, kernel, stride, padding)
   return nn.MaxPool2d{ kernel_size = kernel, stride = stride, padding = padding }
end

function makers.avg_pool2d(_, _, kernel, stride, padding)
   return nn.AvgPool2d{ kernel_size = kernel, stride = stride, padding = padding }
end

function makers.batch_norm2d(channels)
   return nn.BatchNorm2d{ num_features = channels }
end

function makers.linear(features, out)
   return nn.Linear{ in_features = features, out_features = out }
end

--- Numbers of that shape; images as a layer inside a network meets them, channels-last, which is also how
-- the gradient reaches them: through a view of a leaf.
local function inside(shape)
   if #shape == 2 then
      return siamese.randn(shape)
   end
   local n, c, h, w = table.unpack(shape)
   return siamese.randn(n, h, w, c)
end

local function view(leaf)
   return leaf:dim() == 2 and leaf or leaf:permute(1, 4, 2, 3)
end

function bench.layer(threads, _, kind, batch, ...)
   siamese.set_threads(threads // 1 | 0)
   siamese.manual_seed(0)
   local numbers = table.pack(batch, ...)
   for i, number in ipairs(numbers) do
      numbers[i] = number // 1 | 0
   end
   bench.net = makers[kind](table.unpack(numbers, 2))
   local size = kind ~= "linear" and numbers[3] or nil
   bench.x = inside{ numbers[1], numbers[2], size, size }
   bench.gradient = view(inside(bench.net(view(bench.x)).shape))
   -- A network's first layer needs no gradient of its input.
   bench.x.requires_grad = numbers[2] > 3
   return 1
end

local function layer_forward()
   siamese.no_grad(bench.net, view(bench.x))
end

local function repeated(work, seconds)
   work()
   local clock, count = siamese.core.clock, 0
   local start = clock()
   repeat
      work()
      count = count + 1
   until clock() - start >= seconds
   return (clock() - start) / count
end

function bench.train(seconds)
   return repeated(bench.step, seconds)
end

function bench.infer(seconds)
   return repeated(bench.embed, seconds)
end

function bench.forward(seconds)
   return repeated(layer_forward, seconds)
end

function bench.backward(seconds)
   local clock, best = siamese.core.clock, math.huge
   local start = clock()
   repeat
      bench.net:zero_grad()
      bench.x.grad = nil
      local y = bench.net(view(bench.x))
      local before = clock()
      y:backward(bench.gradient)
      best = math.min(best, clock() - before)
   until clock() - start >= seconds
   return best
end

--- Peak memory of the process, in bytes.
function bench.memory()
   for line in io.lines("/proc/self/status") do
      local kilobytes = line:match("^VmHWM:%s+(%d+)")
      if kilobytes then
         return tonumber(kilobytes) * 1024
      end
   end
end

for line in io.lines() do
   local words = {}
   for word in line:gmatch("%S+") do
      words[#words + 1] = tonumber(word) or word
   end
   local request = table.remove(words, 1)
   if request == "quit" then
      break
   end
   local ok, value = pcall(bench[request], table.unpack(words))
   print(ok and "ok" or "error", (tostring(value):gsub("\n", " ")))
   io.flush()
end
