--- Augmentation: pictures changed at random, in C on all threads, described here.
--
--    local augment = siamese.augment
--    local t = augment.Compose{
--       augment.RandomAffine{ degrees = 10, scale = { 0.9, 1.1 }, interpolation = "bilinear" },
--       augment.Sometimes(0.5, augment.ElasticTransform{ alpha = 40, sigma = 6 }),
--       augment.OneOf{ augment.RandomStroke{ width = { -0.5, 1 }, p = 1 }, augment.GaussianNoise{} },
--       seed = 1,
--    }
--    local y = t(x)                                       -- [N,C,H,W], uint8 or float32; or [C,H,W]
--    local y = t(x, { indices = indices, epoch = epoch }) -- the same whatever the batch
--    local a, b = t:pair(a, b)                            -- each side by numbers of its own
--    augment.preview(set, "seen.png", { transform = t })
--
-- Names and parameters are those of torchvision.transforms.v2 where it has the transform. What comes out for
-- a sample depends on the seed, the sample's number, the epoch and the side of the pair alone.
--
-- The modules `siamese.augment.geometry`, `colour`, `compose`, `mixup` and `preview` describe what is here;
-- `siamese.image` has the same changes as functions of given numbers.
-- @module siamese.augment
local M = {}

for _, name in ipairs{ "geometry", "colour", "compose", "mixup", "preview" } do
   for key, value in pairs(require("siamese.augment." .. name)) do
      if key:match("^%u") or key == "preview" then
         M[key] = value
      end
   end
end

--- Whether a value is a transform.
-- @treturn boolean
M.is_transform = require("siamese.augment.transform").is

return M
