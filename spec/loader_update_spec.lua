--- A loader over a sampler that is updated: hard pairs by the last epoch's embeddings.
local siamese = require "siamese"
local data = siamese.data

local set = data.glyphs{ classes = 6, samples = 4, size = 8, seed = 2 }

local function hard_pairs(batches)
   return data.hard_pairs(set, { batch_size = 8, batches = batches, seed = 3, hard = 1 })
end

local function loader_of(sampler, workers)
   return (data.loader(set, { sampler = sampler, workers = workers or 2, prefetch = 3, seed = 1 }))
end

--- Embeddings by which other pictures are hard.
local function embeddings(seed)
   local generator, rows = siamese.Generator(seed), {}
   for i = 1, #set do
      rows[i] = { generator:uniform(), generator:uniform() }
   end
   return siamese.tensor(rows)
end

--- The pairs of the next `count` batches; "end" for the end of an epoch.
local function following(loader, count)
   local out = {}
   for i = 1, count do
      local images, _, _, a, b = loader()
      out[i] = images and table.concat(a:totable(), " ") .. ", " .. table.concat(b:totable(), " ") or "end"
   end
   return out
end

describe("an update of hard pairs", function()
   it("counts from the next batch on, whatever has been made ahead", function()
      local function run(workers)
         local sampler = hard_pairs()
         local loader, out = loader_of(sampler, workers), {}
         for round = 1, 4 do
            table.move(following(loader, 5), 1, 5, #out + 1, out)
            sampler:update(embeddings(round))
         end
         loader:stop()
         return out
      end
      local plain, want = hard_pairs(), {}
      for round = 1, 4 do
         for _ = 1, 5 do
            local a, b = plain()
            want[#want + 1] = table.concat(a:totable(), " ") .. ", " .. table.concat(b:totable(), " ")
         end
         plain:update(embeddings(round))
      end
      assert.same(want, run(0))
      assert.same(want, run(3))
   end)

   it("is in the loader's state, between epochs and inside one", function()
      for _, batches in ipairs{ 4, 150 } do
         for _, at in ipairs{ 5, 7 } do -- behind the end of four; inside
            local sampler = hard_pairs(batches)
            local loader = loader_of(sampler)
            following(loader, 2)
            sampler:update(embeddings(1))
            following(loader, at - 2)
            sampler:update(embeddings(2))
            local state = loader:state()
            local again = loader_of(hard_pairs(batches)):restore(state)
            assert.same(following(loader, 12), following(again, 12))
            loader:stop()
            again:stop()
         end
      end
   end)

   it("outlives the loop that it was made in", function()
      local sampler = hard_pairs()
      local loader = loader_of(sampler)
      for _ in loader:epoch() do -- luacheck: ignore 512
         sampler:update(embeddings(1))
         break
      end
      local plain = hard_pairs()
      plain()
      plain:update(embeddings(1))
      local a, b = plain()
      assert.same({ table.concat(a:totable(), " ") .. ", " .. table.concat(b:totable(), " ") },
         following(loader, 1))
      loader:stop()
   end)

   it("after each epoch of siamese.fit is there again in a process that goes on", function()
      local path = os.tmpname()
      local function fit(epochs, checkpoint)
         siamese.manual_seed(1)
         local encoder = siamese.nn.Sequential{ siamese.nn.Flatten{},
            siamese.nn.Linear{ in_features = 64, out_features = 4 } }
         local twin, sampler = siamese.Twin{ encoder = encoder, distance = "l2" }, hard_pairs(5)
         local loader = loader_of(sampler)
         assert(siamese.fit{ model = twin, loss = siamese.losses.Contrastive{}, epochs = epochs,
            optimizer = siamese.optim.SGD(twin:parameters(), { lr = 0.1 }),
            data = function() return loader end, checkpoint = checkpoint,
            callbacks = { on_epoch = function()
               sampler:update(siamese.metrics.embed_all(function(x) return twin:embed(x) end, set))
            end } })
         return encoder:parameters()[1]
      end
      local want = fit(4)
      os.remove(path)
      fit(2, { path = path })
      local got = fit(4, { path = path })
      os.remove(path)
      assert.is_true(want == got)
   end)
end)
