--- Our half of the benchmark: the same requests as peer.py's, on standard input.
local siamese = require "siamese"
local networks = require "bench.networks"

local bench = {}

--- Multiply-adds of one image through the network, counted as convolutions and linear layers run.
local function count_macs(net, input)
   local F, macs = siamese.core.F, 0
   local conv2d, linear = F.conv2d, F.linear
   F.conv2d = function(x, weight, ...)
      local y = conv2d(x, weight, ...)
      local _, per_group, kh, kw = table.unpack(weight.shape)
      macs = macs + y:numel() * per_group * kh * kw
      return y
   end
   F.linear = function(x, weight, ...)
      local y = linear(x, weight, ...)
      macs = macs + y:numel() * weight:size(2)
      return y
   end
   siamese.no_grad(net, input)
   F.conv2d, F.linear = conv2d, linear
   return macs // input:size(1)
end

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
   bench.net:eval()
   local macs = count_macs(bench.net, bench.a)
   bench.step()
   bench.embed()
   return macs
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
