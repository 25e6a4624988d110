--- siamese.fit on data.loader: what it makes of its batches, and that it comes back to the same bits.
local siamese = require "siamese"
local files = require "spec.support_files"

local data, nn = siamese.data, siamese.nn

describe("siamese.fit", function()
   local root, set

   before_each(function()
      root = files.temp_folder()
      for class = 1, 4 do
         files.make_folder(("%s/%d"):format(root, class))
         for n = 1, 6 do
            files.write(("%s/%d/%d.pgm"):format(root, class, n), files.pgm(8, 8, function(x, y)
               return (x * 20 * class + y * 7 * n) % 256
            end))
         end
      end
      set = assert(data.folder(root, { stream = true }))
   end)

   after_each(function() files.remove(root) end)

   local function make()
      siamese.manual_seed(1)
      local encoder = nn.Sequential{ nn.Flatten{}, nn.Linear{ in_features = 64, out_features = 8 } }
      local twin = siamese.Twin{ encoder = encoder, distance = "cosine" }
      return twin, siamese.optim.SGD(twin:parameters(), { lr = 0.05, momentum = 0.9 })
   end

   local warp = siamese.augment.RandomAffine{ degrees = 10, interpolation = "bilinear", seed = 3 }

   local function fit(sampler, loss, more)
      local twin, optimizer = make()
      local loader = data.loader(set, { sampler = sampler, augment = warp, seed = 2, workers = 2 })
      local opts = { model = twin, optimizer = optimizer, loss = loss, data = function() return loader end,
         epochs = 4 }
      for key, value in pairs(more or {}) do
         opts[key] = value
      end
      local result = assert(siamese.fit(opts))
      loader:stop()
      return twin.encoder:parameters()[1], result
   end

   local function classes()
      return data.class_batches(set, { classes = 4, samples = 2, batches = 5, seed = 4 })
   end

   it("takes images and labels, and pairs, from a loader", function()
      local _, result = fit(classes(), siamese.losses.NTXent{})
      assert.same({ 20, 160 }, { result.steps, result.images })
      _, result = fit(data.pairs(set, { batch_size = 6, batches = 5, seed = 4 }),
         siamese.losses.Contrastive{})
      assert.same({ 20, 240 }, { result.steps, result.images })
   end)

   it("takes triplets, from a loader or as indices of a set", function()
      local function triplets()
         return data.triplets(set, { batch_size = 6, batches = 5, seed = 4 })
      end
      local a, result = fit(triplets(), siamese.losses.Triplet{ margin = 0.5 })
      assert.same({ 20, 360 }, { result.steps, result.images })
      local twin, optimizer = make()
      local whole = assert(data.folder(root))
      local sampler = triplets()
      result = assert(siamese.fit{ model = twin, optimizer = optimizer, set = whole, epochs = 4,
         loss = siamese.losses.Triplet{ margin = 0.5 }, data = function() return sampler end })
      assert.same({ 20, 360 }, { result.steps, result.images })
      assert.same(a.shape, twin.encoder:parameters()[1].shape)
   end)

   it("goes on from a checkpoint to the same bits", function()
      local want = fit(classes(), siamese.losses.NTXent{})
      local checkpoint = { path = root .. "/run.ckpt", every_steps = 3 }
      local _, first = fit(classes(), siamese.losses.NTXent{}, { checkpoint = checkpoint, callbacks = {
         on_step = function(run) return run.step == 7 and "stop" or nil end } })
      assert.equal(7, first.steps)
      local got, second = fit(classes(), siamese.losses.NTXent{}, { checkpoint = checkpoint })
      assert.equal(7, second.resumed)
      assert.is_true(want == got)
   end)
end)
