--- Pictures: decoding, limits, broken files, resizing and warps against PyTorch's values, augmentation.
local siamese = require "siamese"
local support = require "spec.support"
local files = require "spec.support_files"

local image, close = siamese.image, support.close

local function from_hex(text)
   return (text:gsub("%x%x", function(byte)
      return string.char(tonumber(byte, 16))
   end))
end

-- A 4 x 3 ramp (0, 20, 40, ... 220) as Pillow writes it.
local RAMP = {}
for i = 0, 11 do
   RAMP[i + 1] = 20 * i
end
local GIF = from_hex("474946383761040003008300000000001414142828283c3c3c5050506464647878788c8c8c"
   .. "a0a0a0b4b4b4"
   .. "c8c8c8dcdcdc0000000000000000000000002c00000000040003000008100001041030804001030710245"
   .. "0b02020003b")
local JPEG = from_hex("ffd8ffe000104a46494600010100000100010000ffdb004300080606070605080707"
   .. "070909080a0c140d0c0b"
   .. "0b0c1912130f141d1a1f1e1d1a1c1c20242e2720222c231c1c2837292c30313434341f27393d38323c2e333432ffc0000b08"
   .. "0003000401011100ffc4001f0000010501010101010100000000000000000102030405060708090a0bffc400b51000020103"
   .. "03020403050504040000017d01020300041105122131410613516107227114328191a1082342b1c11552d1f02433627282"
   .. "090a161718191a25262728292a3435363738393a434445464748494a535455565758595a636465666768696a737475767778"
   .. "79"
   .. "7a838485868788898a92939495969798999aa2a3a4a5a6a7a8a9aab2b3b4b5b6b7b8b9bac2c3c4c5c6c7c8c9cad2d3d4d5d6"
   .. "d7d8d9dae1e2e3e4e5e6e7e8e9eaf1f2f3f4f5f6f7f8f9faffda0008010100003f00ebf47f05786ffb363ff893db7e47fc6b"
   .. "ffd9")
local PNG = from_hex("89504e470d0a1a0a0000000d4948445200000004000000030800000000919ff11a000000174944415478"
   .. "9c6364101111610c101111610910111101000938015b69f3895b0000000049454e44ae426082")
local PNG_ONE_BIT = from_hex("89504e470d0a1a0a0000000d49484452000000040000000301000000009c8f936b0000000e4944"
   .. "4154789c6360600860f8000001e60141378745190000000049454e44ae426082")
local PGM = "P5\n# a comment\n4 3\n255\n" .. string.char(table.unpack(RAMP))
local BMP = "BM" .. string.pack("<I4I2I2I4", 54 + 36, 0, 0, 54)
   .. string.pack("<I4i4i4I2I2I4I4i4i4I4I4", 40, 4, 3, 1, 24, 0, 36, 0, 0, 0, 0)
for row = 2, 0, -1 do
   for column = 0, 3 do
      BMP = BMP .. string.char(RAMP[row * 4 + column + 1]):rep(3)
   end
end

describe("decoding", function()
   local root

   before_each(function()
      root = files.temp_folder()
   end)

   after_each(function()
      files.remove(root)
   end)

   it("reads PNG, PGM, BMP and GIF exactly, and JPEG nearly", function()
      for name, bytes in pairs{ png = PNG, pgm = PGM, bmp = BMP, gif = GIF } do
         local x = assert(image.decode(bytes))
         assert.same({ 1, 3, 4 }, x.shape)
         assert.equal("uint8", x.dtype)
         close(x:flatten(), RAMP, 0, 1, name)
      end
      close(assert(image.decode(JPEG)):flatten(), RAMP, 0, 12)
   end)

   it("gives grey or RGB, bytes or floats, and reads one-bit files", function()
      local x = assert(image.decode(PNG, { channels = 3, dtype = "float32" }))
      assert.same({ 3, 3, 4 }, x.shape)
      close(x[2]:flatten() * 255, RAMP, 1e-5, 1e-4)
      local one = assert(image.decode(PNG_ONE_BIT))
      assert.is_true((one:eq(0) + one:eq(255)):eq(1):all())
   end)

   it("scales PGM and PPM by their largest value, 16-bit ones too", function()
      local small = assert(image.decode("P5 2 1 15\n\15\5"))
      assert.same({ 255, 85 }, small:flatten():totable())
      local wide = assert(image.decode("P5 2 1 65535 \255\255\128\0"))
      assert.same({ 255, 128 }, wide:flatten():totable())
      local colour = assert(image.decode("P6 1 1 255\n\10\20\30", { channels = 3 }))
      assert.same({ 10, 20, 30 }, colour:flatten():totable())
   end)

   it("writes what it reads, grey and RGB", function()
      siamese.manual_seed(1)
      for _, channels in ipairs{ 1, 3 } do
         local x = (siamese.rand(channels, 9, 13) * 255):byte()
         assert(image.save(root .. "/x.png", x))
         assert.is_true(x == assert(image.load(root .. "/x.png", { channels = channels })))
      end
      local ok, message = image.save(root .. "/no/x.png", siamese.zeros(1, 2, 2))
      assert.is_nil(ok)
      assert.matches("no/x.png", message, 1, true)
   end)

   it("says of every truncation, with the file's name, that it is none", function()
      for name, bytes in pairs{ ["a.png"] = PNG, ["a.pgm"] = PGM, ["a.bmp"] = BMP, ["a.gif"] = GIF,
         ["a.jpg"] = JPEG } do
         local path = root .. "/" .. name
         for length = 0, #bytes - 1 do
            files.write(path, bytes:sub(1, length))
            local x, message = image.load(path)
            assert.is_nil(x, name .. " cut to " .. length)
            assert.matches(path, message, 1, true)
         end
      end
   end)

   it("survives any byte that was changed", function()
      siamese.manual_seed(4)
      for _, bytes in ipairs{ PNG, PGM, BMP, GIF, JPEG } do
         for at = 1, #bytes, 3 do
            local changed = bytes:sub(1, at - 1) .. string.char((bytes:byte(at) + 129) % 256)
               .. bytes:sub(at + 1)
            local x, message = image.decode(changed, { max_width = 64, max_height = 64 })
            assert.is_true(x ~= nil or type(message) == "string")
         end
      end
   end)

   it("refuses other files, folders and nothing, by name", function()
      files.write(root .. "/text.png", "this is no picture at all")
      files.write(root .. "/ascii.pgm", "P2\n1 1\n255\n7\n")
      for name, reason in pairs{ ["text.png"] = "not a PNG, JPEG", ["nothing.png"] = "No such file",
         ["ascii.pgm"] = "only binary PGM", ["."] = "not a file" } do
         local x, message = image.load(root .. "/" .. name)
         assert.is_nil(x)
         assert.matches(root .. "/" .. name, message, 1, true)
         assert.matches(reason, message, 1, true)
      end
   end)

   it("holds limits before it decodes", function()
      local x, message = image.decode(PNG, { max_width = 3 })
      assert.is_nil(x)
      assert.matches("4 x 3 pixels are more than the limits (3 x", message, 1, true)
      assert.is_nil(image.decode(PNG, { max_height = 2 }))
      assert.is_nil(image.decode(PNG, { max_bytes = 20 }))
      for _, sizes in ipairs{ "900000 900000", "99999999999999999999 1", "0 5", "-1 5" } do
         assert.is_nil((image.decode((PGM:gsub("4 3", sizes)))))
      end
   end)
end)

local X = { 0.00426352, 0.105569, 0.285842, 0.0269548, 0.471614, 0.0601163, 0.771866, 0.743699, 0.594421,
   0.887857, 0.451031, 0.799491, 0.149841, 0.401469, 0.0541769, 0.459405, 0.175605, 0.949183, 0.847319,
   0.874856, 0.64831, 0.214758, 0.949305, 0.0121087, 0.180877, 0.187715, 0.292745, 0.599699, 0.121255,
   0.114796, 0.26088, 0.805172, 0.139362, 0.0515519, 0.0666458 }

describe("resizing", function()
   local x
   before_each(function()
      x = siamese.tensor(X):reshape(1, 1, 5, 7)
   end)

   it("is PyTorch's interpolate in bilinear mode, without and with antialias", function()
      close(image.resize(x, { 3, 4 }, { mode = "bilinear", antialias = false }):flatten(), { 0.257409,
         0.446739, 0.529332, 0.439009, 0.206138, 0.272302, 0.860052, 0.733265, 0.242626, 0.230346,
         0.210679, 0.202187 }, 1e-4, 1e-5)
      close(image.resize(x, { 3, 4 }, { mode = "bilinear" }):flatten(), { 0.32916, 0.404253, 0.39646,
         0.392554, 0.397905, 0.461351, 0.662704, 0.588512, 0.294326, 0.325238, 0.264761, 0.228592 }, 1e-4,
         1e-5)
      close(image.resize(x, { 8, 9 }, { mode = "bilinear" })[{ 1, 1, 8 }], { 0.121255, 0.116949,
         0.179722, 0.381834, 0.805172, 0.28732, 0.0905786, 0.0565832, 0.0666458 }, 1e-4, 1e-5)
   end)

   it("by area takes the mean of what each pixel covers, parts of pixels too", function()
      local y = siamese.arange(24):reshape(1, 4, 6)
      close(image.resize(y, { 2, 3 }), siamese.nn.functional.avg_pool2d(y:unsqueeze(1),
         { kernel_size = 2 })[1])
      close(image.resize(siamese.tensor{ { { 0, 3, 6 } } }, { 1, 2 }):flatten(), { 1, 5 })
      assert.near(x:mean():item(), image.resize(x, { 2, 3 }):mean():item(), 1e-5)
   end)

   it("keeps bytes bytes, rounded, and constants constant", function()
      local y = image.resize(siamese.full({ 3, 10, 10 }, 77, { dtype = "uint8" }), 7)
      assert.equal("uint8", y.dtype)
      assert.is_true(y:eq(77):all())
      support.fails("size must be a positive integer", image.resize, x, 0)
      support.fails("needs a float32 or uint8 image", image.resize, siamese.zeros(3), 2)
   end)
end)

describe("warping", function()
   it("is PyTorch's affine_grid and grid_sample", function()
      local w, h, a, b, c, d, e, f = 7, 5, 0.9, 0.3, 0.1, -0.2, 1.1, -0.2
      local map = siamese.tensor{ {
         { a, b * w / h, (w * (a * (1 / w - 1) + b * (1 / h - 1) + c + 1) - 1) / 2 },
         { d * h / w, e, (h * (d * (1 / w - 1) + e * (1 / h - 1) + f + 1) - 1) / 2 } } }
      local y = siamese.core.imaging.warp(siamese.tensor(X):reshape(1, 1, 5, 7), map, 0)
      close(y:flatten(), { 0.00251609, 0.044626, 0.0954516, 0.0461429, 0.0328845, 0.00491497, 0,
         0.592485, 0.474305, 0.601986, 0.21969, 0.484539, 0.188824, 0.493989, 0.341082, 0.400279,
         0.583562, 0.743261, 0.714623, 0.327576, 0.398145, 0.862025, 0.0566694, 0.336284, 0.459985,
         0.58797, 0.658348, 0.339188, 0.162414, 0.467508, 0.544637, 0.148176, 0.171357, 0.377002,
         0.0500512 }, 1e-4, 1e-5)
   end)
end)

describe("augmentation", function()
   local x
   before_each(function()
      siamese.manual_seed(6)
      x = siamese.rand(20, 2, 9, 9)
   end)

   it("without ranges, or with probability 0, changes nothing", function()
      close(siamese.augment.Affine{}(x), x, 0, 1e-6)
      close(siamese.augment.Affine{ rotation = 40, shear = 1, scale = { 2, 3 }, translation = 5, p = 0 }(x),
         x, 0, 1e-6)
   end)

   it("turns by 90 degrees and moves by whole pixels exactly", function()
      local turned = siamese.augment.Affine{ rotation = { 90, 90 } }(x)
      local order = siamese.arange(9, 0, -1, { dtype = "int64" })
      close(turned, x:transpose(3, 4):index_select(4, order), 0, 1e-4)
      local moved = siamese.augment.Affine{ translation = { 2, 2 }, fill = 0.5 }(x)
      close(moved[{ {}, {}, { 3, 9 }, { 3, 9 } }], x[{ {}, {}, { 1, 7 }, { 1, 7 } }], 0, 1e-5)
      assert.is_true(moved[{ {}, {}, 1 }]:eq(0.5):all())
   end)

   it("repeats with its seed on any number of threads, and draws anew at each call", function()
      local options = { rotation = 20, shear = 0.2, scale = { 0.8, 1.2 }, translation = 2, seed = 9 }
      local threads, results = siamese.get_threads(), {}
      for n = 1, 3 do
         siamese.set_threads(n)
         results[n] = siamese.augment.Affine(options)(x)
      end
      siamese.set_threads(threads)
      assert.is_true(results[1] == results[2] and results[2] == results[3])
      local warp = siamese.augment.Affine(options)
      assert.is_false(warp(x) == warp(x))
   end)

   it("applies each component as often as its probability says", function()
      local many = siamese.rand(2000, 1, 5, 5)
      local moved = siamese.augment.Affine{ translation = { 1, 1, p = 0.3 }, seed = 1 }(many)
      local still = 0
      for i = 1, 2000 do
         still = still + ((moved[i] - many[i]):abs():max():item() < 1e-6 and 1 or 0)
      end
      assert.near(0.49, still / 2000, 0.05) -- neither along x nor along y
   end)

   it("says what is wrong with its ranges and its input", function()
      support.fails("rotation must be a number or a range", siamese.augment.Affine, { rotation = "x" })
      support.fails("scale must be above 0", siamese.augment.Affine, { scale = { 0, 1 } })
      support.fails("probability of shear must be from 0 to 1", siamese.augment.Affine,
         { shear = { 0, 1, p = 2 } })
      support.fails("needs uint8 or float32 images [C,H,W] or [N,C,H,W], got float32 [3,3]",
         siamese.augment.Affine{}, siamese.zeros(3, 3))
   end)
end)

describe("glyphs", function()
   it("are pure functions of seed, class and sample", function()
      local data = siamese.data
      local whole = data.glyphs{ classes = 6, samples = 4, seed = 2 }
      local part = data.glyphs{ classes = 2, samples = 2, seed = 2, first_class = 3, first_sample = 2 }
      assert.is_true(part.images[1] == whole.images[2 * 4 + 2])
      assert.is_true(part.images[4] == whole.images[3 * 4 + 3])
      assert.is_false(data.glyphs{ classes = 6, samples = 4, seed = 3 }.images == whole.images)
      assert.is_true(whole.images:min():item() == 0 and whole.images:max():item() == 1)
   end)

   it("are the same whoever draws when there is no jitter, and hard for pixels when there is", function()
      local still = siamese.data.glyphs{ classes = 1, samples = 2, jitter = 0 }
      assert.is_true(still.images[1] == still.images[2])
      local set = siamese.data.glyphs{ classes = 60, samples = 10, seed = 5 }
      local accuracy = siamese.metrics.few_shot(set, { embed = siamese.metrics.pixels, way = 20,
         episodes = 100, seed = 1 }).accuracy
      assert.is_true(accuracy > 0.1 and accuracy < 0.5, "pixels: " .. accuracy)
   end)
end)
