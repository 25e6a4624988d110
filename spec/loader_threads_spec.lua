--- The loader's threads beside the script's and those of the loops. `make tsan` runs these, too: no folders
-- are made here, since a shell does not start under it.
local siamese = require "siamese"
local data = require "siamese.data"
local files = require "spec.support_files"

-- luacheck: ignore 512 (loops are left on purpose)

describe("#threads that load", function()
   local paths, names, set, before

   setup(function()
      before = siamese.get_threads()
      siamese.set_threads(3)
      paths, names = {}, {}
      for i = 1, 16 do
         paths[i], names[i] = os.tmpname(), "class" .. (i - 1) // 4
         files.write(paths[i], files.pgm(9, 8, function(x, y) return (x * 20 * i + y * 7) % 256 end))
      end
      files.write(paths[16], "nothing")
      set = assert(data.files(paths, names, { size = { 5, 6 }, stream = true, on_error = "skip" }))
   end)

   teardown(function()
      siamese.set_threads(before)
      for _, path in ipairs(paths) do
         os.remove(path)
      end
   end)

   --- An epoch's images and indices.
   local function epoch(opts)
      local out = {}
      for images, _, indices in data.loader(set, opts) do
         out[#out + 1] = { images, indices }
      end
      return out
   end

   it("give the same bits whatever their number, cached or not, augmented or not", function()
      local warp = siamese.augment.RandomAffine{ degrees = 20, interpolation = "bilinear", seed = 1 }
      for _, augment in ipairs{ false, warp } do
         local want = epoch{ batch_size = 3, seed = 1, workers = 0, augment = augment or nil }
         for _, workers in ipairs{ 1, 2, 4 } do
            for _, cache in ipairs{ false, 100, true } do
               local got = epoch{ batch_size = 3, seed = 1, workers = workers, cache = cache,
                  augment = augment or nil }
               assert.equal(#want, #got)
               for i, batch in ipairs(want) do
                  assert.is_true(batch[1] == got[i][1] and batch[2] == got[i][2])
               end
            end
         end
      end
   end)

   it("work beside training, and for several loaders of one set", function()
      local net = siamese.models.lenet5()
      local small = assert(data.files(paths, names, { size = 28, stream = true, on_error = "skip" }))
      local other = data.loader(small, { batch_size = 4, workers = 2, cache = true })
      local n = 0
      for images in data.loader(small, { batch_size = 5, workers = 2, cache = true }) do
         net(images):sum():backward()
         other()
         n = n + images:size(1)
      end
      other:stop()
      assert.equal(15, n)
   end)

   it("stop wherever they are", function()
      for round = 1, 60 do
         for _ in data.loader(set, { batch_size = 2, workers = round % 4, prefetch = 5 }) do
            if round % 3 > 0 then
               break
            end
         end
      end
      collectgarbage()
   end)
end)
