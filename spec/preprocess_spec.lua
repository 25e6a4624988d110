--- Preprocessing records: how pictures become a network's input, and twins that take pictures as they are.
local siamese = require "siamese"
local support = require "spec.support"
local files = require "spec.support_files"

local Preprocess, close, fails = siamese.Preprocess, support.close, support.fails

--- uint8 [C,h,w] with different values everywhere.
local function picture(channels, height, width)
   return ((siamese.arange(channels * height * width) * 37) % 251):byte():reshape(channels, height, width)
end

describe("a preprocessing record", function()
   it("makes a batch of floats of one picture or many", function()
      local pre, x = Preprocess{}, picture(3, 4, 5)
      close(pre(x), x:float():unsqueeze(1) / 255)
      close(pre(siamese.stack{ x, x }), siamese.stack{ x, x }:float() / 255)
      close(pre{ x, siamese.stack{ x, x } }, siamese.stack{ x, x, x }:float() / 255)
      close(pre(x:float() / 255), pre(x))
      assert.is_false(pre((x:float() / 255):requires_grad_()).requires_grad)
   end)

   it("normalises by channel", function()
      local x = picture(3, 2, 2)
      local y = Preprocess{ mean = { 0.1, 0.2, 0.3 }, std = { 0.5, 1, 2 } }(x)
      local unit = x:float() / 255
      close(y[1][1], (unit[1] - 0.1) / 0.5)
      close(y[1][3], (unit[3] - 0.3) / 2)
      close(Preprocess{ mean = 0.5, std = 0.5 }(x)[1], (unit - 0.5) / 0.5)
   end)

   it("inverts first", function()
      local x = picture(1, 2, 2)
      close(Preprocess{ channels = "grey", invert = true, mean = 0.25 }(x)[1], 0.75 - x:float() / 255)
   end)

   it("makes grey of RGB, and RGB or BGR of either", function()
      local grey, rgb = picture(1, 2, 3), picture(3, 2, 3)
      local unit = rgb:float() / 255
      close(Preprocess{ channels = 1 }(rgb)[1][1], 0.299 * unit[1] + 0.587 * unit[2] + 0.114 * unit[3])
      close(Preprocess{ channels = "bgr" }(rgb)[1], siamese.stack{ unit[3], unit[2], unit[1] })
      for _, channels in ipairs{ "rgb", "bgr", 3 } do
         local y = Preprocess{ channels = channels }(grey)
         assert.same({ 1, 3, 2, 3 }, y.shape)
         close(y[1][2], grey[1]:float() / 255)
      end
   end)

   it("resizes, by images' own arithmetic", function()
      local x = picture(3, 8, 6)
      for _, mode in ipairs{ "bilinear", "area" } do
         close(Preprocess{ size = { 3, 5 }, mode = mode }(x)[1],
            siamese.image.resize(x:float() / 255, { 3, 5 }, { mode = mode }))
      end
      assert.same({ 1, 3, 4, 4 }, Preprocess{ size = 4 }(x).shape)
   end)

   it("resizes the shorter side and cuts the middle out, as torchvision's presets do", function()
      local x = picture(3, 10, 6)
      local whole = siamese.image.resize(x:float() / 255, { 13, 8 }, { mode = "bilinear" })
      local pre = Preprocess{ resize = 8, size = { 6, 8 } }
      close(pre(x)[1], whole:narrow(2, 5, 6)) -- (13 - 6) / 2 = 3.5, rounded to the even 4
      close(Preprocess{ resize = 8 }(x)[1], whole)
      local wide = x:transpose(2, 3):contiguous()
      close(Preprocess{ resize = 8, size = { 8, 6 } }(wide)[1], whole:narrow(2, 5, 6):transpose(2, 3))
      assert.same({ 2, 3, 224, 224 }, Preprocess.imagenet(){ picture(3, 300, 400), picture(1, 64, 80) }.shape)
   end)

   it("reads files, which come out as their pixels do", function()
      local folder = files.temp_folder()
      local pre = Preprocess{ size = 4, channels = "grey", mean = 0.5 }
      files.write(folder .. "/a.pgm", files.pgm(6, 5, function(x, y) return x * 40 + y end))
      local pixels = assert(siamese.image.load(folder .. "/a.pgm"))
      close(pre(folder .. "/a.pgm"), pre(pixels))
      assert.same({ 2, 1, 4, 4 }, pre{ folder .. "/a.pgm", pixels }.shape)
      local y, message = pre{ folder .. "/a.pgm", folder .. "/b.pgm" }
      assert.is_nil(y)
      assert(message:find(folder .. "/b.pgm", 1, true) == 1, message)
      files.remove(folder)
   end)

   it("is data: it says its options, and is made of them again", function()
      local pre = Preprocess{ size = 32, resize = 40, channels = "bgr", mean = { 1, 2, 3 }, std = 2,
         invert = true }
      assert.same({ size = { 32, 32 }, resize = 40, channels = "bgr", mean = { 1, 2, 3 }, std = { 2, 2, 2 },
         mode = "bilinear", invert = true }, pre:options())
      assert.same(pre, Preprocess(pre:options()))
      assert.equal(pre, Preprocess.from(pre))
      assert.equal("Preprocess(bgr, inverted, shorter side 40, 32 x 32, mean={1, 2, 3}, std={2, 2, 2})",
         tostring(pre))
   end)

   it("refuses options that make no sense", function()
      fails("Preprocess: unknown option 'means' (did you mean 'mean'?)", Preprocess, { means = 1 })
      fails("channels must be 'rgb' or 'bgr' or 'grey', got 2", Preprocess, { channels = 2 })
      fails("mode must be 'bilinear' or 'area', got 'cubic'", Preprocess, { mode = "cubic" })
      fails("size must be an integer of at least 1 or a table of two such, got {1, 2, 3}", Preprocess,
         { size = { 1, 2, 3 } })
      fails("size and resize must be at most 16384, got 100000", Preprocess, { size = 100000 })
      fails("size (64 x 32) is cut out of what resize (40) leaves", Preprocess,
         { size = { 64, 32 }, resize = 40 })
      fails("resize must be an integer of at least 1, got 0.5", Preprocess, { resize = 0.5 })
      fails("mean must be a number or a list of 3, got {1, 2}", Preprocess, { mean = { 1, 2 } })
      fails("mean must be a number or a list of 1, got {1, 2}", Preprocess, { mean = { 1, 2 }, channels = 1 })
      fails("std must be a number above 0 or a list of 3, got {1, 1, 0}", Preprocess, { std = { 1, 1, 0 } })
      fails("mean must be a number or a list of 3, got inf", Preprocess, { mean = math.huge })
      fails("invert must be true or false, got 1", Preprocess, { invert = 1 })
   end)

   it("refuses what is no picture", function()
      local pre = Preprocess{ resize = 100 }
      fails("must be [C,H,W] or [N,C,H,W] of 1 or 3 channels, uint8 or float32, got uint8 [4,2,2]", pre,
         picture(4, 2, 2))
      fails("got int64 [3,2,2]", pre, picture(3, 2, 2):long())
      fails("got float32 [3]", pre, siamese.zeros(3))
      fails("got float32 [0,3,2,2]", pre, siamese.zeros(0, 3, 2, 2))
      fails("expected a picture, a file's name or a list of them, got number", pre, 5)
      fails("got an empty list", pre, {})
      fails("a picture of 1 x 5000 is too narrow to be made 100", pre, siamese.zeros(1, 1, 5000))
   end)
end)

describe("a module with a preprocessing record", function()
   local net, pre, a, b

   before_each(function()
      siamese.manual_seed(3)
      net = siamese.models.conv4{ width = 4, size = 16 }:eval()
      pre = Preprocess{ size = 16, channels = "grey", mean = 0.5 }
      a, b = picture(3, 20, 30), picture(1, 16, 16)
   end)

   it("takes pictures as they are, and float32 as its input", function()
      local want, x = net(pre{ a, b }), pre(a)
      for _, form in ipairs{ pre, pre:options() } do
         net.preprocess = form
         close(net{ a, b }, want)
         close(net(a), want:narrow(1, 1, 1))
         close(net(siamese.stack{ a, a }), net(siamese.cat({ x, x }, 1)))
         close(net(x), want:narrow(1, 1, 1))
      end
      local layers = siamese.nn.Sequential{ siamese.nn.Flatten{} }
      layers.preprocess = pre
      close(layers(a), pre(a):flatten(2))
      fails("must be [C,H,W] or [N,C,H,W] of 1 or 3 channels", layers, picture(2, 4, 4))
   end)

   it("takes files, loaded again, too; nil and a message for one that is not there", function()
      local folder = files.temp_folder()
      files.write(folder .. "/a.pgm", files.pgm(6, 5, function(x, y) return x * 40 + y end))
      net.preprocess = pre
      assert(siamese.save(folder .. "/net.safetensors", net))
      local again = assert(siamese.load_model(folder .. "/net.safetensors"))
      close(again(folder .. "/a.pgm"), net(pre(folder .. "/a.pgm")))
      local y, message = again{ a, folder .. "/b.pgm" }
      assert.is_nil(y)
      assert(message:find(folder .. "/b.pgm", 1, true) == 1, message)
      files.remove(folder)
   end)

   it("may have a layer or a method of that name instead", function()
      local Own = siamese.nn.Module:extend("Own")
      function Own:init()
         self.preprocess = siamese.nn.Flatten{}
      end
      function Own:forward(x)
         return self.preprocess(x)
      end
      local own = Own()
      assert.same({ 3, 600 }, own(a).shape)
      assert.is_nil(Preprocess.of(siamese.Twin{ encoder = own }))
      local path = os.tmpname()
      assert(siamese.save(path, own))
      os.remove(path)
   end)
end)

describe("a twin with a preprocessing record", function()
   local net, twin, pre

   before_each(function()
      siamese.manual_seed(3)
      net = siamese.models.conv4{ width = 4, size = 16 }
      pre = { size = 16, channels = "grey", mean = 0.5, std = 0.25 }
      twin = siamese.Twin{ encoder = net, distance = "l2", preprocess = pre }:eval()
      pre = Preprocess(pre)
   end)

   it("takes pictures as they are", function()
      local a, b = picture(3, 20, 30), picture(1, 16, 16)
      close(twin:embed(a), net(pre(a)))
      close(twin(a, b), twin:distance(pre(a), pre(b)))
      close(twin:similarity(a, b), twin:similarity(pre(a), pre(b)))
      assert.same({ true }, twin:verify(a, a, 1e-3))
      assert.same({ 2 }, (twin:identify(a, { b, a })))
      assert.same({ "a", "b" }, (twin:identify({ a, b }, { b, a }, { "b", "a" })))
   end)

   it("leaves floats as they are: they are the network's input", function()
      local x = siamese.rand(2, 1, 16, 16)
      close(twin:embed(x), net(x))
   end)

   it("takes files, and gives nil and a message where there is none", function()
      local folder = files.temp_folder()
      files.write(folder .. "/a.pgm", files.pgm(20, 20, function(x) return 10 * x end))
      files.write(folder .. "/b.pgm", files.pgm(20, 20, function(_, y) return 10 * y end))
      local a, b, missing = folder .. "/a.pgm", folder .. "/b.pgm", folder .. "/c.pgm"
      assert.same({ "b" }, (twin:identify(b, { a, b }, { "a", "b" })))
      local half = twin:distance(a, b):item() / 2
      assert.same({ true, false }, { twin:verify(a, a, half)[1], twin:verify(a, b, half)[1] })
      for _, method in ipairs{ "embed", "forward", "distance", "similarity", "verify", "identify" } do
         for _, pair in ipairs{ { missing, a }, method ~= "embed" and { a, missing } or nil } do
            local result, message = twin[method](twin, pair[1], pair[2], method == "verify" and 1 or nil)
            assert.is_nil(result, method)
            assert(message:find(missing, 1, true) == 1, message)
         end
      end
      files.remove(folder)
   end)

   it("has its encoder's where it has none of its own", function()
      net.preprocess = pre
      local other = siamese.Twin{ encoder = net }:eval()
      close(other:embed(picture(3, 20, 30)), net(pre(picture(3, 20, 30))))
      net.preprocess = { size = 16, channels = "grey" } -- a table of options will do
      pre = Preprocess(net.preprocess)
      close(other:embed(picture(1, 20, 30)), net(pre(picture(1, 20, 30))))
   end)

   it("says what it needs one for", function()
      local plain = siamese.Twin{ encoder = net }
      fails("Twin:embed: expected a tensor, got string; files are read by a twin that has a preprocess "
         .. "record", plain.embed, plain, "a.png")
      fails("Twin:identify: expected a tensor, got table", plain.identify, plain, {}, {})
      fails("Preprocess: unknown option 'sise'", siamese.Twin, { encoder = net, preprocess = { sise = 3 } })
   end)
end)
