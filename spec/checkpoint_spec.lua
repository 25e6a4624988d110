--- PyTorch checkpoints: what torch.save writes is read (spec/golden/make_checkpoints.py), what is no data is
-- refused by name, and what is broken gives nil and a message.
local siamese = require "siamese"
local made = require "spec.support_checkpoints"
local support = require "spec.support"

local floats, load_bytes, refused, temporary = made.floats, made.load, made.refused, made.temporary
local GOLDEN = "spec/golden/checkpoints/"
local KINDS = { "kinds_zip2", "kinds_zip3", "kinds_zip4", "kinds_zip5", "kinds_big", "kinds_stream2",
   "kinds_stream4" }

local function names_of(t)
   local names = {}
   for name in pairs(t) do
      names[#names + 1] = name
   end
   return names
end

local function same_tensor(a, b, name)
   assert.equal(b.dtype, a.dtype, name)
   assert.same(b.shape, a.shape, name)
   assert.is_true(a == b, name)
end

describe("a checkpoint of PyTorch's", function()
   local dense = assert(siamese.load(GOLDEN .. "kinds.safetensors"))

   for _, kind in ipairs(KINDS) do
      it("is read whatever wrote it: " .. kind, function()
         local c, metadata = assert(siamese.load(GOLDEN .. kind .. ".pth"))
         assert.same({}, metadata)
         for name, tensor in pairs(c.tensors) do
            same_tensor(tensor, dense[name], name)
         end
         for name, tensor in pairs(c.model) do
            same_tensor(tensor, dense["model." .. name], name)
         end
         assert.same({ 12, 0.1, "résumé", true, false }, { c.epoch, c.lr, c.name, c.yes, c.no })
         assert.is_nil(c.none)
         assert.same({ 0, 255, 256, 65535, 65536, -1, (1 << 31) - 1, -(1 << 31), 1 << 40, -(1 << 40),
            math.maxinteger, math.mininteger }, c.integers)
         assert.same({ 2.0 ^ 70, -2.0 ^ 70 }, c.large)
         assert.same({ 0.0, -0.5, 1e300, 1 / 0 }, c.floats)
         assert.same({ { 1, "two", { 3.0 } }, { 2, 3 }, { 5 } }, { c.tuple, c.size, c.set })
         assert.same({ false, true, {}, {}, {} }, c.list)
         assert.same({ "\0\255a", ("x"):rep(300) }, { c.bytes, c.long })
         assert.same({ "torch.float32", "cuda:1" }, { c.dtype, c.device })
         assert.same({ "integer key", "float key", "boolean key" }, { c[3], c[1.5], c[false] })
      end)
   end

   it("keeps integers whole, and the order of names", function()
      local c = assert(siamese.load(GOLDEN .. "kinds_zip2.pth"))
      assert.equal("integer", math.type(c.epoch))
      assert.same({ "z", "a" }, names_of(c.pairs))
      assert.same({ "0.weight", "0.bias", "1.weight", "1.bias", "1.running_mean", "1.running_var",
         "1.num_batches_tracked" }, names_of(c.model))
      assert.same({ "state", "param_groups" }, names_of(c.optimizer))
      assert.same({ 0.8, 0.99 }, c.optimizer.param_groups[1].betas)
      assert.same({ "step", "exp_avg", "exp_avg_sq" }, names_of(c.optimizer.state[0]))
   end)

   it("keeps what is shared shared: storages, tensors and lists", function()
      local c = assert(siamese.load(GOLDEN .. "kinds_zip2.pth"))
      assert.equal(c.twice[1], c.twice[2])
      local t = c.tensors
      t.base[2][3] = 77
      assert.equal(77, t.transposed[3][2]:item())
      assert.equal(77, t.narrow[1][1]:item())
      assert.equal(77, t.every_second[2][2]:item())
      assert.is_false(t.transposed:is_contiguous())
   end)

   it("gives tensors that train", function()
      local c = assert(siamese.load(GOLDEN .. "kinds_zip2.pth"))
      local w = siamese.nn.Parameter(c.tensors.transposed);
      (w * w):sum():backward()
      support.close(w.grad, 2 * dense.transposed)
   end)

   it("that is one tensor, or a number, is that", function()
      local t = load_bytes(made.archive(made.tensor{ numel = 6, size = { 2, 3 }, stride = { 3, 1 } },
         { ["0"] = floats(6) }))
      assert.same({ { 0, 1, 2 }, { 3, 4, 5 } }, t:totable())
      assert.equal(7, load_bytes(made.archive(made.integer(7))))
      refused("holds None alone", made.archive("N"))
   end)

   it("of the oldest kind has parts of storages", function()
      local part = made.tuple(made.text "1", made.integer(2), made.integer(3))
      local t = load_bytes(made.stream(made.tensor{ numel = 6, part = part, offset = 1, size = { 2 },
         stride = { 1 } }, { { "0", 6, floats(6) } }))
      assert.same({ 3, 4 }, t:totable())
   end)

   it("has the later of two values of one key, at the first one's place", function()
      local c = load_bytes(made.archive("}(" .. made.text "b" .. "K\1" .. made.text "a" .. "K\2"
         .. made.text "b" .. "K\3" .. made.text "a" .. "N" .. made.text "c" .. "K\4u"))
      assert.same({ b = 3, c = 4 }, { b = c.b, c = c.c })
      assert.same({ "b", "c" }, names_of(c))
   end)
end)

describe("the ResNet-20 of akamaster", function()
   local folder = (os.getenv("SIAMESE_DATA") or "../shared/data") .. "/weights/"

   it("is the same in all files", function()
      local probe = io.open(folder .. "resnet20_cifar10_legacy.th")
      if not probe then
         pending("no " .. folder .. "resnet20_cifar10_legacy.th")
         return
      end
      probe:close()
      local want = assert(siamese.load(folder .. "resnet20_cifar10.safetensors"))
      assert.near(91.78, assert(siamese.load(folder .. "resnet20_cifar10_legacy.th")).best_prec1, 1e-4)
      for _, file in ipairs{ "resnet20_cifar10.pt", "resnet20_cifar10_legacy.th" } do
         local state = assert(siamese.load(folder .. file, { key = true, strip_prefix = true }))
         local count = 0
         for name, tensor in pairs(state) do
            same_tensor(tensor, want[name], name)
            count = count + 1
         end
         assert.equal(#names_of(want), count)
      end
   end)
end)

describe("siamese.load's options", function()
   local one = made.tensor{ numel = 2, size = { 2 }, stride = { 1 } }
   local function dict(...)
      return "}(" .. table.concat({ ... }) .. "u"
   end
   local wrapped = dict(made.text "module._orig_mod.fc.weight", one,
      made.text "module._orig_mod.fc.bias", one)
   local bytes = made.archive(dict(made.text "epoch", "K\3", made.text "ema", one,
      made.text "model", dict(made.text "state_dict", wrapped)), { ["0"] = floats(2) })

   it("take all there is without any", function()
      assert.same({ "epoch", "ema", "model" }, names_of(load_bytes(bytes)))
   end)

   it("find the state, and take the wrappers' prefixes off", function()
      assert.same({ "fc.weight", "fc.bias" },
         names_of(load_bytes(bytes, { key = true, strip_prefix = true })))
      assert.same({ "module._orig_mod.fc.weight", "module._orig_mod.fc.bias" },
         names_of(load_bytes(bytes, { key = true })))
   end)

   it("follow a key, or a list of keys", function()
      assert.equal(3, load_bytes(bytes, { key = "epoch" }))
      assert.same({ "weight", "bias" }, names_of(load_bytes(bytes, { key = { "model", "state_dict" },
         strip_prefix = { "module.", "_orig_mod.fc." } })))
   end)

   it("say what there is instead of what is not", function()
      local _, message = load_bytes(bytes, { key = "net" })
      assert.matches("has no 'net' %(it has epoch, ema, model%)$", message)
      _, message = load_bytes(bytes, { key = { "epoch", "x" } })
      assert.matches("has no 'x'$", message)
      _, message = load_bytes(bytes, { key = true, strip_prefix = "encoder." })
      assert.matches("has no name that begins with 'encoder%.' %(it has module", message)
      _, message = load_bytes(made.archive(dict(made.text "epoch", "K\3")), { key = true })
      assert.matches("holds no state of a module %(it has epoch%); name what does with the option 'key'",
         message)
      _, message = load_bytes(made.archive(one, { ["0"] = floats(2) }), { key = true })
      assert.matches("holds no state of a module, but a single tensor", message)
      _, message = load_bytes(made.archive(dict(made.text "a.x", one, made.text "x", one),
         { ["0"] = floats(2) }), { strip_prefix = "a." })
      assert.matches("two tensors of the name 'x' without the prefix 'a%.'", message)
   end)

   it("must make sense", function()
      support.fails("siamese.load: key must be true, a string or a list of strings, got 1.5", siamese.load,
         "x", { key = 1.5 })
      support.fails("strip_prefix must be true, a string or a list of strings, got 3", siamese.load, "x",
         { strip_prefix = 3 })
      support.fails("unknown option 'prefix' (did you mean 'strip_prefix'?)", siamese.load, "x",
         { prefix = "a" })
   end)
end)

describe("a checkpoint that wants", function()
   local function call(module, name, argument)
      return made.global(module, name) .. made.tuple(made.text(argument)) .. "R"
   end

   it("os.system is refused by name, however it asks, and nothing runs", temporary(function(path)
      os.remove(path)
      local command = "touch " .. path
      local stack_global = made.text "os" .. made.text "system" .. "\x93"
      local ways = { call("os", "system", command),
         "}" .. made.text "a" .. call("os", "system", command) .. "s",
         stack_global .. made.tuple(made.text(command)) .. "R", "(" .. made.text(command) .. "ios\nsystem\n",
         "(" .. made.global("os", "system") .. made.text(command) .. "o",
         made.global("os", "system") .. made.tuple(made.text(command)) .. "\x81",
         made.global("os", "system") .. made.tuple(made.text(command)) .. "}\x92" }
      for _, way in ipairs(ways) do
         for _, bytes in ipairs{ made.archive(way), made.stream(way), made.pickle(way) } do
            refused("wants os.system, which is not data", bytes)
         end
      end
      assert.is_nil(io.open(path))
   end))

   it("any other function or class is refused by name", function()
      for _, name in ipairs{ "posix.system", "builtins.eval", "__builtin__.exec", "subprocess.Popen",
         "builtins.getattr", "torch.load", "torch.hub.load", "numpy.core.multiarray.scalar",
         "torch._utils._rebuild_qtensor", "torch.ComplexFloatStorage", "__main__.Net",
         "torch.nn.modules.conv.Conv2d", "collections.OrderedDict.x", "x.torch._utils._rebuild_tensor_v2",
         "torch.Size2", "torch.", ".Size" } do
         local module, last = name:match("^(.*)%.(.-)$")
         refused(("wants %s, which is not data"):format(name), made.archive(made.global(module, last)))
      end
   end)

   it("names that are no text is refused with what can be shown of them", function()
      refused("wants ?[31mred.?x?, which", made.archive(made.global("\27[31mred", "\1x\255")))
      local message = refused("wants aaaa", made.archive(made.global(("a"):rep(1e5), ("b"):rep(1e5))))
      assert.is_true(#message < 300)
   end)

   it("a storage or a class as data is refused", function()
      refused("it holds, as if that were data, a storage",
         made.archive(made.storage{ numel = 0 }, { ["0"] = "" }))
      refused("it holds, as if that were data, a function or class",
         made.archive("]" .. made.global("torch", "Tensor") .. "a"))
      refused("it holds, as if that were data, a function or class",
         made.archive("}" .. made.text "x" .. made.global("torch", "FloatStorage") .. "s"))
   end)

   it("to call what it may name, wrongly, is refused", function()
      local text = made.text "x"
      for _, body in ipairs{ made.global("torch", "Size") .. ")R", made.global("torch", "device") .. ")R",
         made.global("torch", "Tensor") .. ")R", made.global("torch", "FloatStorage") .. ")R",
         made.global("builtins", "set") .. made.tuple(text) .. "R",
         made.global("builtins", "bytes") .. made.tuple("K\1") .. "R",
         made.global("collections", "OrderedDict") .. made.tuple(text) .. "R",
         made.global("collections", "OrderedDict") .. made.tuple("]](K\1K\2K\3ea") .. "R",
         made.global("_codecs", "encode") .. made.tuple(text, made.text "utf-16") .. "R",
         made.global("_codecs", "encode") .. made.tuple(made.text "\xe2\x82\xac", made.text "latin1") .. "R",
         made.global("_codecs", "encode") .. made.tuple(made.text "\xc3", made.text "latin1") .. "R" } do
         refused("is called with the wrong arguments", made.archive(body))
      end
      refused("a parameter that is no tensor",
         made.archive(made.global("torch._utils", "_rebuild_parameter") .. made.tuple(text) .. "R"))
      refused("it calls text with a tuple", made.archive(text .. ")R"))
      refused("it sets attributes of a list", made.archive("]}b"))
      refused("a tensor with attributes that is none",
         made.archive(made.global("torch._tensor", "_rebuild_from_type_v2")
            .. made.tuple(made.global("torch._tensor", "_rebuild_from_type_v2"),
               made.global("torch", "Tensor"), ")", "N") .. "R"))
   end)
end)
