--- Saving and loading: what goes in comes out; broken files give nil and a message.
local siamese = require "siamese"
local support = require "spec.support"

local nn = siamese.nn

local function temporary(f)
   return function()
      local path = os.tmpname()
      local ok, message = pcall(f, path)
      os.remove(path)
      if not ok then
         error(message, 0)
      end
   end
end

local function write(path, bytes)
   local file = assert(io.open(path, "wb"))
   assert(file:write(bytes))
   file:close()
end

local function read(path)
   local file = assert(io.open(path, "rb"))
   local bytes = file:read("a")
   file:close()
   return bytes
end

--- A file of the format from its header's text and its data.
local function container(header, data)
   return string.pack("<I8", #header) .. header .. (data or "")
end

local function names_of(state)
   local names = {}
   for name in pairs(state) do
      names[#names + 1] = name
   end
   return names
end

describe("saving and loading", function()
   it("keeps names, shapes, dtypes and values", temporary(function(path)
      local state = { b = siamese.randn(2, 3), a = siamese.tensor({ { 1, -2 } }, { dtype = "int64" }),
         ["deep.name \"quoted\" \\ ü"] = siamese.tensor({ 0, 255 }, { dtype = "uint8" }),
         scalar = siamese.tensor(0.5), empty = siamese.zeros(0, 3) }
      assert.is_true(siamese.save(path, state))
      local back, metadata = siamese.load(path)
      assert.same({}, metadata)
      for name, tensor in pairs(state) do
         assert.equal(tensor.dtype, back[name].dtype)
         assert.same(tensor.shape, back[name].shape)
         assert.is_true(back[name] == tensor)
      end
      assert.same({ "a", "b", 'deep.name "quoted" \\ ü', "empty", "scalar" }, names_of(back))
   end))

   it("keeps NaN, infinities, signed zeros and numbers below the normal ones", temporary(function(path)
      local t = siamese.tensor{ 0 / 0, 1 / 0, -1 / 0, -0.0, 1e-42, 3.4e38 }
      siamese.save(path, t)
      local back = siamese.load(path):totable()
      assert.is_true(back[1] ~= back[1])
      assert.same({ 1 / 0, -1 / 0 }, { back[2], back[3] })
      assert.equal(-1 / 0, 1 / back[4])
      assert.near(1e-42, back[5], 1e-45)
   end))

   it("keeps one tensor by itself", temporary(function(path)
      local t = siamese.arange(6):reshape(2, 3)
      assert(siamese.save(path, t))
      assert.is_true(siamese.load(path) == t)
   end))

   it("writes views as what they show, and detaches", temporary(function(path)
      local t = siamese.arange(6):reshape(2, 3):requires_grad_()
      assert(siamese.save(path, { t = t:t(), narrow = t:narrow(2, 2, 2) }))
      local back = siamese.load(path)
      support.close(back.t, t:detach():t())
      support.close(back.narrow, t:detach():narrow(2, 2, 2))
      assert.is_false(back.t.requires_grad)
   end))

   it("keeps metadata", temporary(function(path)
      local metadata = { epoch = "12", note = 'a "quote"\n\tand a tab' }
      assert(siamese.save(path, { x = siamese.zeros(1) }, { metadata = metadata }))
      local _, back = siamese.load(path)
      assert.same(metadata, back)
   end))

   it("writes the same bytes for the same tensors", temporary(function(path)
      local state = {}
      for i = 1, 20 do
         state["name" .. i] = siamese.full({ 2 }, i)
      end
      siamese.save(path, state, { metadata = { a = "1", b = "2", c = "3" } })
      local first = read(path)
      siamese.save(path, state, { metadata = { c = "3", b = "2", a = "1" } })
      assert.equal(first, read(path))
   end))

   it("replaces a file whole, and leaves none beside it", temporary(function(path)
      siamese.save(path, siamese.zeros(1000))
      siamese.save(path, siamese.ones(2))
      assert.same({ 1, 1 }, siamese.load(path):totable())
      local listing = io.popen("ls " .. path .. "* 2>/dev/null")
      assert.equal(path .. "\n", listing:read("a"))
      listing:close()
   end))

   it("takes an empty table", temporary(function(path)
      assert(siamese.save(path, {}))
      assert.is_nil(next((siamese.load(path))))
   end))

   it("begins the data at a multiple of 8 bytes", temporary(function(path)
      siamese.save(path, { x = siamese.zeros(3) })
      assert.equal(0, string.unpack("<I8", read(path)) % 8)
   end))
end)

describe("saving refuses", function()
   it("what is no tensor, by name", function()
      support.fails("siamese.save: 'lr' is a number, expected a tensor", siamese.save, "x", { lr = 1 })
      support.fails("expected a tensor, a table of tensors or a module, got number", siamese.save, "x", 5)
      support.fails("siamese.save: a name must be a string, got 1", siamese.save, "x",
         { siamese.zeros(1) })
      support.fails("a name must be UTF-8 without zero bytes", siamese.save, "x",
         { ["\xff"] = siamese.zeros(1) })
      support.fails("keeps the name '__metadata__' for itself", siamese.save, "x",
         { __metadata__ = siamese.zeros(1) })
   end)

   it("metadata that is no text, and unknown options", function()
      local state = { x = siamese.zeros(1) }
      support.fails("metadata must be a table of strings, got string", siamese.save, "x", state,
         { metadata = "x" })
      support.fails("metadata's 'epoch' must be a string, got 3", siamese.save, "x", state,
         { metadata = { epoch = 3 } })
      support.fails("unknown option 'meta'", siamese.save, "x", state, { meta = {} })
   end)

   it("a path that is none", function()
      support.fails("siamese.save: path must be the name of a file, got table", siamese.save, {}, {})
      support.fails("siamese.load: path must be the name of a file, got nil", siamese.load)
      support.fails("siamese.load: path must be the name of a file, got \"\"", siamese.load, "")
   end)

   it("a freed tensor", function()
      local t = siamese.zeros(1)
      t:free()
      assert.has_error(function()
         siamese.save("x", { t = t })
      end)
   end)

   it("a folder that is not there, with nil and its name", function()
      local done, message = siamese.save("/no/such/folder/x.safetensors", { x = siamese.zeros(1) })
      assert.is_nil(done)
      assert.matches("^/no/such/folder/x%.safetensors", message)
      assert.matches("No such file", message)
   end)
end)

describe("a broken file", function()
   local entry = '{"x":{"dtype":"F32","shape":[2],"data_offsets":[0,8]}}'
   local eight = ("\0"):rep(8)
   local cases = {
      { "empty", "", "too short" },
      { "of 7 bytes", "1234567", "too short" },
      { "with a header longer than itself", string.pack("<I8", 1000) .. "{}", "truncated" },
      { "with a header of 2^63 bytes", string.pack("<i8", -1) .. "{}", "truncated" },
      { "of another kind", "PK\3\4" .. ("x"):rep(100), "truncated" },
      { "truncated in the data", container(entry, "1234"), "beyond the end" },
      { "with bytes left over", container(entry, eight .. "x"), "belong to no tensor" },
      { "without JSON", container("hello"), "does not begin with {" },
      { "with half a header", container('{"x":{"dtype":"F32",'), "" },
      { "with an unknown dtype", container(entry:gsub("F32", "F8_E4M3"), eight),
         "an unknown dtype, 'F8_E4M3', of tensor 'x'" },
      { "with white space ahead of the header", container(" " .. entry, eight), "does not begin with {" },
      { "with a name that is not UTF-8", container(entry:gsub("x", "\xed\xa0\x80", 1), eight),
         "not UTF-8" },
      { "with a shape that lies", container(entry:gsub("%[2%]", "[3]"), eight),
         "does not agree with data_offsets, of tensor 'x'" },
      { "with a shape that overflows",
         container(entry:gsub("%[2%]", "[4611686018427387904,4611686018427387904]"), eight), "too large" },
      { "with a huge shape without elements",
         container('{"x":{"dtype":"F32","shape":[9223372036854775807,9223372036854775807,0],'
            .. '"data_offsets":[0,0]}}'),
         "" },
      { "with a negative size", container(entry:gsub("%[2%]", "[-2]"), eight), "whole number" },
      { "with a size of 2^70",
         container(entry:gsub("%[2%]", "[1180591620717411303424]"), eight), "too large" },
      { "with too many dimensions",
         container(entry:gsub("%[2%]", "[1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,2]"), eight),
         "too long" },
      { "with ranges that run backwards", container(entry:gsub("%[0,8%]", "[8,0]"), eight), "" },
      { "with a hole", container(entry:gsub("%[0,8%]", "[8,16]"), eight .. eight), "leave a hole" },
      { "with tensors that overlap", container('{"x":{"dtype":"F32","shape":[2],"data_offsets":[0,8]},'
         .. '"y":{"dtype":"F32","shape":[2],"data_offsets":[4,12]}}', eight .. "1234"), "overlap" },
      { "with one name twice", container('{"x":{"dtype":"F32","shape":[1],"data_offsets":[0,4]},'
         .. '"x":{"dtype":"F32","shape":[1],"data_offsets":[4,8]}}', eight), "one name" },
      { "with something behind the header", container(entry .. "x", eight), "follows" },
      { "with a string without an end", container('{"x'), "without an end" },
      { "with a wrong escape", container('{"\\q":1}'), "escape" },
      { "with half a surrogate pair", container('{"\\ud800":1}'), "surrogate" },
      { "with metadata that is no text", container('{"__metadata__":{"a":1}}'), "string" },
   }
   for _, case in ipairs(cases) do
      it(case[1] .. " gives nil and a message", temporary(function(path)
         write(path, case[2])
         local state, message = siamese.load(path)
         assert.is_nil(state)
         assert(message:find(path, 1, true), message)
         assert(message:find(case[3], 1, true), message)
      end))
   end

   it("with a header beyond the format's limit gives nil and a message", temporary(function(path)
      local file = assert(io.open(path, "wb"))
      file:write(string.pack("<I8", 100000001), "{")
      file:seek("set", 100000008) -- a hole, which takes no room
      file:write("}")
      file:close()
      local state, message = siamese.load(path)
      assert.is_nil(state)
      assert(message:find("has 100000001 bytes, more than the format's limit of 100000000", 1, true), message)
   end))

   it("cut off anywhere gives nil and a message", temporary(function(path)
      siamese.save(path, { a = siamese.ones(3), b = siamese.ones(2, 2) }, { metadata = { k = "v" } })
      local bytes = read(path)
      for length = 0, #bytes - 1 do
         write(path, bytes:sub(1, length))
         local state, message = siamese.load(path)
         assert.is_nil(state)
         assert.is_string(message)
      end
   end))

   it("with any one byte of the header changed is read or refused, and never breaks", temporary(function(path)
      siamese.save(path, { a = siamese.ones(3), b = siamese.ones(2, 2) }, { metadata = { k = "v" } })
      local bytes = read(path)
      local header = 8 + string.unpack("<I8", bytes)
      for at = 1, header do
         for _, byte in ipairs{ 0, 34, 57, 91, 92, 123, 255 } do
            write(path, bytes:sub(1, at - 1) .. string.char(byte) .. bytes:sub(at + 1))
            local state, message = siamese.load(path)
            assert.is_true(state ~= nil or type(message) == "string")
         end
      end
   end))

   it("that is a folder, or not there, gives nil and a message", function()
      for _, path in ipairs{ "/tmp", "/no/such/file" } do
         local state, message = siamese.load(path)
         assert.is_nil(state)
         assert(message:find(path, 1, true), message)
      end
   end)
end)

describe("other dtypes become float32, int64 and uint8:", function()
   local function load_one(dtype, shape, data)
      local result
      temporary(function(path)
         write(path, container(('{"x":{"dtype":"%s","shape":[%d],"data_offsets":[0,%d]}}'):format(dtype,
            shape, #data), data))
         result = assert(siamese.load(path)).x
      end)()
      return result
   end

   it("F64", function()
      support.close(load_one("F64", 2, string.pack("<dd", 0.1, -3)), { 0.1, -3 })
   end)
   it("F16, with its infinities and smallest numbers", function()
      local t = load_one("F16", 6,
         string.pack("<I2I2I2I2I2I2", 0x3C00, 0xC000, 0x7C00, 0x0001, 0x8000, 0x3555))
      support.close(t, { 1, -2, 1 / 0, 2.0 ^ -24, 0, 0.333251953125 }, 0, 0)
   end)
   it("BF16", function()
      support.close(load_one("BF16", 2, string.pack("<I2I2", 0x3F80, 0xC040)), { 1, -3 }, 0, 0)
   end)
   it("I32, I16, I8", function()
      for dtype, format in pairs{ I32 = "<i4i4", I16 = "<i2i2", I8 = "<i1i1" } do
         local t = load_one(dtype, 2, string.pack(format, -7, 100))
         assert.equal("int64", t.dtype)
         assert.same({ -7, 100 }, t:totable())
      end
   end)
   it("U64, U32, U16, as far as int64 goes", function()
      for dtype, format in pairs{ U64 = "<I8I8", U32 = "<I4I4", U16 = "<I2I2" } do
         local t = load_one(dtype, 2, string.pack(format, 7, 65535))
         assert.equal("int64", t.dtype)
         assert.same({ 7, 65535 }, t:totable())
      end
      assert.same({ math.maxinteger }, load_one("U64", 1, ("\xff"):rep(8)):totable())
   end)
   it("BOOL", function()
      local t = load_one("BOOL", 3, "\1\0\1")
      assert.equal("uint8", t.dtype)
      assert.same({ 1, 0, 1 }, t:totable())
   end)
end)

describe("a module", function()
   local function make(width)
      return nn.Sequential{ nn.Linear{ in_features = 2, out_features = width },
         nn.BatchNorm1d{ num_features = width } }
   end

   it("saves itself, and loads into another", temporary(function(path)
      local a, b = make(3), make(3)
      a(siamese.randn(4, 2))
      assert.is_true(a:save(path, { metadata = { of = "a" } }))
      assert.equal(b, b:load(path))
      for name, tensor in pairs(a:state_dict()) do
         assert.is_true(b:state_dict()[name] == tensor)
      end
      assert.is_true(b[1].weight.requires_grad)
   end))

   it("refuses a file that does not fit, with its name, unchanged", temporary(function(path)
      local a, b = make(3), make(4)
      a:save(path)
      local before = b[1].weight:clone()
      local done, message = b:load(path)
      assert.is_nil(done)
      assert(message:find(path, 1, true), message)
      assert(message:find("0.weight: expected shape [4,2], got [3,2]", 1, true), message)
      assert.is_true(b[1].weight == before)
   end))

   it("takes part of a file when not strict", temporary(function(path)
      siamese.save(path, { ["0.bias"] = siamese.full({ 3 }, 5), other = siamese.zeros(1) })
      local a = make(3)
      assert.is_nil((a:load(path)))
      assert.equal(a, a:load(path, { strict = false }))
      assert.same({ 5, 5, 5 }, a[1].bias:totable())
   end))

   it("gives nil and a message where there is no file", function()
      local done, message = make(1):load("/no/such/file")
      assert.is_nil(done)
      assert.matches("/no/such/file", message)
   end)
end)

describe("weights of others", function()
   local folder = (os.getenv("SIAMESE_DATA") or "../shared/data") .. "/weights/"
   local function real(name, f)
      return function()
         local file = io.open(folder .. name)
         if not file then
            pending("no " .. folder .. name)
            return
         end
         file:close()
         f(assert(siamese.load(folder .. name)))
      end
   end

   it("are read: ResNet-20's", real("resnet20_cifar10.safetensors", function(state)
      assert.same({ 16, 3, 3, 3 }, state["conv1.weight"].shape)
      assert.same({ 10, 64 }, state["linear.weight"].shape)
      local count = 0
      for name, tensor in pairs(state) do
         if name:find("weight$") or name:find("bias$") then
            count = count + tensor:numel()
         end
      end
      assert.equal(269722, count)
   end))

   it("are read: its reference values", real("resnet20_cifar10_reference.safetensors", function(state)
      assert.same({ 8, 3, 32, 32 }, state.input.shape)
      assert.same({ 8, 10 }, state.logits.shape)
      assert.is_true(state.logits:isfinite():all())
   end))
end)
