--- Broken PyTorch checkpoints, and files of every kind cut off and changed: nil and a message, and never
-- harm. Under the sanitizers it finds more.
local siamese = require "siamese"
local made = require "spec.support_checkpoints"

local floats, load_bytes, refused, temporary = made.floats, made.load, made.refused, made.temporary
local GOLDEN = "spec/golden/checkpoints/"
local KINDS = { "kinds_zip2", "kinds_zip3", "kinds_zip4", "kinds_zip5", "kinds_big", "kinds_stream2",
   "kinds_stream4" }

describe("a broken checkpoint gives nil and a message:", function()
   local function tensor(changes, storages)
      local o = { numel = 6, size = { 2, 3 }, stride = { 3, 1 } }
      for key, value in pairs(changes) do
         o[key] = value
      end
      return made.archive(made.tensor(o), storages or { ["0"] = floats(6) })
   end

   it("tensors beyond their storages", function()
      local beyond = "reaches beyond its storage of 6 elements"
      refused(beyond, tensor{ size = { 2, 4 } })
      refused(beyond, tensor{ offset = 1 })
      refused(beyond, tensor{ stride = { 4, 1 } })
      refused(beyond, tensor{ offset = math.maxinteger })
      refused(beyond, tensor{ stride = { math.maxinteger, 1 } })
      refused(beyond, tensor{ size = { math.maxinteger, math.maxinteger }, stride = { 0, 0 } })
      refused(beyond, tensor{ size = { 1 << 62, 4 }, stride = { 0, 0 } })
      refused(beyond, tensor{ size = { 1 << 32, 3 }, stride = { 1 << 32, 1 } })
      refused(beyond, tensor{ size = { 0, 3 }, offset = 7 })
   end)

   it("sizes, strides and offsets that are none", function()
      for _, changes in ipairs{ { size = { -2, 3 } }, { stride = { -3, 1 } },
         { stride = { 3, math.mininteger } } } do
         refused("is no whole number from 0 on", tensor(changes))
      end
      refused("without storage, offset, size and stride", tensor{ offset = -1 })
      refused("of 2 dimensions has 1 strides", tensor{ stride = { 1 } })
      refused("has 9 dimensions, here are at most 8",
         tensor{ size = { 1, 1, 1, 1, 1, 1, 1, 1, 1 }, stride = { 1, 1, 1, 1, 1, 1, 1, 1, 1 } })
   end)

   it("views whose storage holds other values than theirs", function()
      local function with(about)
         local plain = made.tensor{ numel = 1, size = { 1 }, stride = { 1 } }
         return made.archive(plain:sub(1, -3) .. about .. "tR", { ["0"] = floats(1) })
      end
      refused("a tensor is a lazy view", with("}" .. made.text "neg" .. "\x88s"))
      refused("a tensor is a lazy view", with("}" .. made.text "conj" .. "\x88s"))
      assert.equal(1, load_bytes(with("}" .. made.text "neg" .. "\x89s")):numel())
   end)

   it("storages that are not there, or not as long as they should be", function()
      refused("the storage data/1 is not there", tensor{ key = "1" })
      refused("the storage data/../../etc/passwd is not there", tensor{ key = "../../etc/passwd" })
      refused("is not there", tensor{ key = ("k"):rep(5000) })
      refused("has 20 bytes, its tensors want 24", tensor({}, { ["0"] = floats(5) }))
      refused("has 28 bytes, its tensors want 24", tensor({}, { ["0"] = floats(7) }))
      refused("has 24 bytes, its tensors want 48", tensor{ type = "DoubleStorage" })
      refused("overflows", tensor{ numel = 1 << 62 })
      refused("without a key and a size", tensor{ numel = -1 })
      local two = made.tensor{ numel = 6, size = { 6 }, stride = { 1 } }
      refused("two storages of one key differ", made.archive("](" .. two .. made.tensor{ numel = 6,
         type = "IntStorage", size = { 6 }, stride = { 1 } } .. "e", { ["0"] = floats(6) }))
      for _, id in ipairs{ ")", "N", made.tuple(made.text "module", "N", "N", "N", "K\1"),
         made.tuple(made.text "storage", made.global("torch", "Size"), made.text "0", "N", "K\1"),
         made.tuple(made.text "storage", made.text "x", made.text "0", "N", "K\1") } do
         refused("it refers to", made.archive(id .. "Q"))
      end
      for _, part in ipairs{ { 3, 4 }, { 7, 0 }, { -1, 2 }, { 0, -1 }, { math.maxinteger, 1 } } do
         refused("a part of a storage", tensor{ part = made.tuple(made.text "k", made.integer(part[1]),
            made.integer(part[2])) })
      end
   end)

   it("values that hold themselves, or are nested too deep", function()
      refused("something in it holds itself", made.archive("]q\0h\0a"))
      refused("something in it holds itself", made.archive("}q\0" .. made.text "me" .. "h\0s"))
      refused("something in it holds itself", made.archive("]q\0(]q\1h\0ah\1ta"))
      refused("nested too deep", made.archive(("]"):rep(1e5) .. ("a"):rep(1e5 - 1)))
      refused("nested too deep", made.archive("K\1" .. ("\x85"):rep(3e5)))
      local sixty = ("]"):rep(60) .. ("a"):rep(59)
      assert(load_bytes(made.archive("](" .. sixty .. "q\0h\0e")))
      refused("nested too deep", made.archive("](" .. sixty .. "q\0" .. ("]"):rep(60) .. "h\0"
         .. ("a"):rep(60) .. "e"))
   end)

   it("keys that cannot be", function()
      refused("the key of a dictionary is a list", made.archive("}]K\1s"))
      refused("the key of a dictionary is None", made.archive("}NK\1s"))
      refused("the key of a dictionary is a number", made.archive("}G\x7f\xf8\0\0\0\0\0\0K\1s"))
      refused("a key without a value", made.archive("}(K\1K\2K\3u"))
   end)

   it("lengths that are longer than the file", function()
      for _, op in ipairs{ "X\xff\xff\xff\xff", "B\xff\xff\xff\xff", "T\xff\xff\xff\xff", "\x8c\xff",
         "C\xff", "U\xff", "\x8d" .. ("\xff"):rep(8),
         "\x8d\0\0\0\0\0\0\0\x80", "\x8e" .. ("\xff"):rep(7) .. "\x7f",
         "\x96\0\0\0\0\1\0\0\0", "\x8b\xff\xff\xff\x7f", "\x8b\xff\xff\xff\xff", "\x8a\xff",
         "\x95" .. ("\xff"):rep(8), "J\1\1", "M\1", "K", "G\0", "h", "cos", "cos\nsys", "" } do
         refused("broken pickle", made.zip{ { "a/data.pkl", "\x80\2" .. op } })
      end
   end)

   it("a memo out of all proportion, or of what was not seen", function()
      refused("out of all proportion", made.archive("K\1r\xff\xff\xff\xff"))
      refused("out of all proportion", made.archive("K\1r\0\0\0\1"))
      refused("remembers what it has not seen", made.archive("h\0"))
      refused("remembers what it has not seen", made.archive("K\1q\1h\0"))
      refused("remembers what it has not seen", made.archive("j\xff\xff\xff\xff"))
   end)

   it("every opcode on an empty stack, on a mark, and behind the wrong values", function()
      for _, before in ipairs{ "", "(", "K\1", "K\1(", "N]", "}(K\1", ")", made.text "x", "](K\1" } do
         for op = 0, 255 do
            local value, message = load_bytes(made.archive(before .. string.char(op)))
            assert(value ~= nil or message:find("broken pickle", 1, true)
               or message:find("holds None", 1, true), message)
         end
      end
   end)

   it("more than a checkpoint can need, without the memory for it", function()
      local before = siamese.memory().live
      refused("more memory than there is, or than the 256 MB it may", made.archive(("N"):rep(9e6)))
      assert.is_true(siamese.memory().live <= before)
   end)
end)

describe("values shared a great many times", function()
   it("cost what they cost once", function()
      local body = "]q\0"
      for level = 1, 90 do -- 2^90 ways lead to the innermost list
         body = body .. ("](h%ch%ceq%c"):format(level - 1, level - 1, level)
      end
      local value = load_bytes(made.archive(body))
      for _ = 1, 90 do
         assert.equal(value[1], value[2])
         value = value[1]
      end
      assert.same({}, value)
   end)

   it("are one string, too", function()
      local before = collectgarbage("count")
      local body = "](" .. made.text(("x"):rep(1 << 20)) .. "q\0" .. ("h\0"):rep(10000) .. "e"
      local value = load_bytes(made.archive(body))
      assert.equal(10001, #value)
      assert.is_true(collectgarbage("count") - before < 20 * 1024)
   end)
end)

describe("a broken archive gives nil and a message:", function()
   local object = made.pickle("K\1")

   it("without an end, or with a directory elsewhere", function()
      refused("broken zip archive: too short", "PK\3\4")
      refused("no end record (truncated)", "PK\3\4" .. ("x"):rep(100))
      refused("no end record", made.zip({ { "a/data.pkl", object } }, { behind = "x" }))
      for _, lies in ipairs{ { at = 0xFFFFFFFF }, { bytes = 0xFFFFFFFF }, { count = 65535 }, { count = 2 },
         { at = 1 }, { at = 0 } } do
         refused("broken zip archive", made.zip({ { "a/data.pkl", object } }, lies))
      end
   end)

   it("with entries elsewhere, too long, two at one place or of one name", function()
      refused("not where the directory says", made.zip{ { "a/data.pkl", object, at = 1 } })
      refused("not where the directory says", made.zip{ { "a/data.pkl", object, at = 0xFFFFFFF0 } })
      refused("does not fit into the file", made.zip{ { "a/data.pkl", object, size = 1000 } })
      refused("does not fit into the file", made.zip{ { "a/data.pkl", object, size = 0xFFFFFFFE } })
      refused("has two sizes", made.zip{ { "a/data.pkl", object, packed = 1 } })
      refused("two entries lie at one place",
         made.zip{ { "a/data.pkl", object }, { "a/data/0", object, at = 0 } })
      refused("two entries have one name", made.zip{ { "a/data.pkl", object }, { "a/data.pkl", object } })
   end)

   it("with zip64 numbers that lie", function()
      local function extra(...)
         local values = ("<" .. ("I8"):rep(select("#", ...))):pack(...)
         return ("<I2I2"):pack(1, #values) .. values
      end
      local function packed(field)
         return made.zip{ { "a/data.pkl", object, packed = 0xFFFFFFFF, extra = field } }
      end
      assert.equal(1, load_bytes(packed(extra(#object))))
      refused("does not fit", packed(extra(1 << 60)))
      refused("too short", packed("\1\0\2\0ab"))
      refused("longer than its place", made.zip{ { "a/data.pkl", object, extra = "\1\0\xff\xffab" } })
      for _, at in ipairs{ -1, 0, 5, math.maxinteger } do
         refused("zip64 end record is not where", made.zip({ { "a/data.pkl", object } },
            { before_end = ("<I4I4i8I4"):pack(0x07064B50, 0, at, 1) }))
      end
   end)

   it("that is no checkpoint, or more than one", function()
      refused("a zip archive, but no checkpoint of PyTorch", made.zip{ { "a.txt", "hello" } })
      refused("a zip archive, but no checkpoint of PyTorch", made.zip{})
      refused("does not have one data.pkl", made.zip{ { "data.pkl", object } })
      refused("does not have one data.pkl",
         made.zip{ { "a/data.pkl", object }, { "b/data.pkl", object } })
      refused("data.pkl is compressed", made.zip{ { "a/data.pkl", object, method = 8 } })
      refused("data.pkl is compressed", made.zip{ { "a/data.pkl", object, flags = 1 } })
      refused("neither 'little' nor 'big'",
         made.zip{ { "a/data.pkl", object }, { "a/byteorder", "middle" } })
      local tensor = made.pickle(made.tensor{ numel = 1, size = { 1 }, stride = { 1 } })
      refused("the storage data/0 is compressed",
         made.zip{ { "a/data.pkl", tensor }, { "a/data/0", floats(1), method = 8 } })
   end)
end)

describe("a broken stream gives nil and a message:", function()
   local body = made.tensor{ numel = 2, size = { 2 }, stride = { 1 } }

   it("of another version, or a pickle of another kind", function()
      refused("of a version that is not read here, expected 1001", made.stream(body, {}, { version = 1002 }))
      refused("a pickle, but not one that torch.save wrote", made.pickle("K\1"))
      refused("protocol 6", (made.stream("\x80\6K\1")))
   end)

   it("whose storages are not those of its tensors", function()
      refused("does not list the keys of its 1 storages", made.stream(body, {}))
      refused("does not list the keys of its 1 storages", made.stream(body, { { "0", 2, floats(2) },
         { "1", 2, floats(2) } }))
      refused("key 1 of its storages is unknown", made.stream(body, { { "1", 2, floats(2) } }))
      refused("a storage has 3 elements, its tensors want 2", made.stream(body, { { "0", 3, floats(3) } }))
      refused("a storage has 18446744073709551615 elements", made.stream(body, { { "0", -1, floats(3) } }))
      refused("ends before its storages do", made.stream(body, { { "0", 2, floats(1) } }))
      refused("bytes that belong to no storage", made.stream(body, { { "0", 2, floats(3) } }))
      local both = "](" .. body .. made.tensor{ key = "1", numel = 2, size = { 2 }, stride = { 1 } } .. "e"
      refused("unknown or repeated", made.stream(both, { { "0", 2, floats(2) }, { "0", 2, floats(2) } }))
   end)
end)

describe("files of every kind", function()
   local files = { "kinds.safetensors" }
   for i, kind in ipairs(KINDS) do
      files[i + 1] = kind .. ".pth"
   end

   for _, name in ipairs(files) do
      it("cut off anywhere give nil and a message: " .. name, temporary(function(path)
         local bytes = made.read(GOLDEN .. name)
         for length = 0, #bytes - 1, math.max(1, #bytes // 500) do
            made.write(path, bytes:sub(1, length))
            local value, message = siamese.load(path)
            assert.is_nil(value)
            assert(message:find(path, 1, true) == 1, message)
         end
      end))

      it("with bytes changed are read or refused, and never break: " .. name, temporary(function(path)
         local bytes = made.read(GOLDEN .. name)
         local generator = siamese.Generator(#bytes)
         for round = 1, 500 do
            local changed = bytes
            for _ = 1, 1 + round % 3 do
               local at = generator:random(#bytes)
               changed = changed:sub(1, at - 1) .. string.char(generator:random(256) - 1)
                  .. changed:sub(at + 1)
            end
            made.write(path, changed)
            local value, message = siamese.load(path)
            assert(value ~= nil or message:find(path, 1, true) == 1, message)
         end
      end))
   end
end)
