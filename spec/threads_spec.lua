-- Threads: what a user relies on when their number changes. `make tsan` runs these, too.
local siamese = require "siamese"
local nn = siamese.nn

--- Losses of a few steps of a small twin that uses convolution, batch norm, pooling, products and
-- dropout; and the sum of its weights afterwards.
local function train(threads, seed)
   siamese.set_threads(threads)
   siamese.manual_seed(seed)
   local encoder = nn.Sequential{
      nn.Conv2d{ in_channels = 1, out_channels = 8, kernel_size = 3, padding = 1, bias = false },
      nn.BatchNorm2d{ num_features = 8 }, nn.ReLU{}, nn.MaxPool2d{ kernel_size = 2 },
      nn.Conv2d{ in_channels = 8, out_channels = 16, kernel_size = 3, padding = 1 },
      nn.ReLU{}, nn.Flatten{}, nn.Dropout{ p = 0.2 },
      nn.Linear{ in_features = 16 * 8 * 8, out_features = 32 },
   }
   local twin = siamese.Twin{ encoder = encoder, distance = "l2" }
   local loss_of = siamese.losses.Contrastive{ margin = 1 }
   local optimiser = siamese.optim.Adam(twin:parameters(), { lr = 1e-3 })
   local losses = {}
   for step = 1, 4 do
      local a, b = siamese.randn(12, 1, 16, 16), siamese.randn(12, 1, 16, 16)
      local same = siamese.arange(12):remainder(2):float()
      local loss = loss_of(twin(a, b), same)
      optimiser:zero_grad()
      loss:backward()
      optimiser:step()
      losses[step] = loss:item()
   end
   local sum = 0
   for _, parameter in ipairs(twin:parameters()) do
      sum = sum + parameter:detach():abs():sum():item()
   end
   return losses, sum
end

describe("#threads", function()
   local before

   setup(function()
      before = siamese.get_threads()
   end)

   teardown(function()
      siamese.set_threads(before)
   end)

   it("give the same bits twice with the same seed and number", function()
      for _, threads in ipairs{ 1, 2, 3 } do
         local losses, sum = train(threads, 7)
         local again, sum_again = train(threads, 7)
         assert.same(losses, again)
         assert.equal(sum, sum_again)
      end
   end)

   it("change results by rounding alone", function()
      local one = train(1, 7)
      local three = train(3, 7)
      for step = 1, #one do
         assert.near(one[step], three[step], 1e-3 * math.abs(one[step]))
      end
   end)

   it("take a number at any time", function()
      local x = siamese.randn(64, 64)
      siamese.set_threads(1)
      local want = x:matmul(x):sum():item()
      for _, threads in ipairs{ 4, 1, 2, 5, 3 } do
         assert.equal(threads, siamese.set_threads(threads))
         assert.equal(threads, siamese.get_threads())
         assert.near(want, x:matmul(x):sum():item(), 1e-2)
      end
   end)
end)
