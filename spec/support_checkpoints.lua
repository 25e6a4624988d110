--- Writes PyTorch checkpoints by hand, right ones and wrong ones: a ZIP archive of stored files, the few
-- opcodes of Python's pickle that torch.save uses, and the stream of before PyTorch 1.6.
local siamese = require "siamese"

local M = {}

-- Pickles, opcode by opcode (Lib/pickletools.py)

function M.text(s)
   return "X" .. ("<s4"):pack(s)
end

function M.integer(n)
   return "\x8a\8" .. ("<i8"):pack(n)
end

function M.global(module, name)
   return "c" .. module .. "\n" .. name .. "\n"
end

function M.tuple(...)
   return "(" .. table.concat({ ... }) .. "t"
end

local function integers(list)
   local parts = {}
   for i, n in ipairs(list) do
      parts[i] = M.integer(n)
   end
   return M.tuple(table.unpack(parts))
end

--- A reference to a storage: { type = "FloatStorage", key = "0", numel = 6, part = ... }
function M.storage(o)
   return M.tuple(M.text "storage", M.global("torch", o.type or "FloatStorage"), M.text(o.key or "0"),
      M.text "cpu", M.integer(o.numel), o.part or "") .. "Q"
end

--- A tensor: a storage's fields and { offset =, size = {...}, stride = {...} }
function M.tensor(o)
   return M.global("torch._utils", "_rebuild_tensor_v2") .. M.tuple(M.storage(o), M.integer(o.offset or 0),
      integers(o.size), integers(o.stride), "\x89", M.global("collections", "OrderedDict") .. ")R") .. "R"
end

function M.pickle(body)
   return "\x80\2" .. body .. "."
end

-- Archives

--- Files of an archive: list of { name, bytes, method =, flags =, at = (its own header's place, a lie),
-- size = (a lie) }.
function M.zip(files, lies)
   lies = lies or {}
   local parts, directory, at = {}, {}, 0
   for i, file in ipairs(files) do
      local name, bytes = file[1], file[2]
      local size = file.size or #bytes
      parts[i] = ("<I4I2I2I2I2I2I4I4I4I2I2"):pack(0x04034B50, 20, file.flags or 0, file.method or 0, 0, 0,
         0, size, size, #name, 0) .. name .. bytes
      directory[i] = ("<I4I2I2I2I2I2I2I4I4I4I2I2I2I2I2I4I4"):pack(0x02014B50, 20, 20, file.flags or 0,
         file.method or 0, 0, 0, 0, file.packed or size, size, #name, #(file.extra or ""), 0, 0, 0, 0,
         file.at or at) .. name .. (file.extra or "")
      at = at + #parts[i]
   end
   local all = table.concat(directory)
   local last = ("<I4I2I2I2I2I4I4I2"):pack(0x06054B50, 0, 0, lies.count or #files, lies.count or #files,
      lies.bytes or #all, lies.at or at, 0)
   return table.concat(parts) .. all .. (lies.before_end or "") .. last .. (lies.behind or "")
end

--- A checkpoint of today: the object's pickle and the bytes of its storages by key.
function M.archive(body, storages, more)
   local files = { { "a/data.pkl", M.pickle(body) }, { "a/byteorder", "little" } }
   for key, bytes in pairs(storages or {}) do
      files[#files + 1] = { "a/data/" .. key, bytes }
   end
   table.move(more or {}, 1, #(more or {}), #files + 1, files)
   return M.zip(files)
end

--- A checkpoint of before 1.6: the same, with the storages as a list of { key, numel, bytes }.
function M.stream(body, storages, o)
   o = o or {}
   local keys, data = "](", {}
   for i, storage in ipairs(storages or {}) do
      keys = keys .. M.text(storage[1])
      data[i] = ("<i8"):pack(storage[2]) .. storage[3]
   end
   return M.pickle("\x8a\10l\xfc\x9cF\xf9 j\xa8P\x19") .. M.pickle(M.integer(o.version or 1001))
      .. M.pickle("}" .. M.text "little_endian" .. "\x88s") .. M.pickle(body) .. M.pickle(keys .. "e")
      .. table.concat(data)
end

-- Files

function M.write(path, bytes)
   local file = assert(io.open(path, "wb"))
   assert(file:write(bytes))
   file:close()
end

function M.read(path)
   local file = assert(io.open(path, "rb"))
   local bytes = file:read("a")
   file:close()
   return bytes
end

--- A test that has a file's name, and leaves no file.
function M.temporary(f)
   return function()
      local path = os.tmpname()
      local ok, message = pcall(f, path)
      os.remove(path)
      if not ok then
         error(message, 0)
      end
   end
end

--- The numbers 0, 1, ... n - 1 as a file has them.
function M.floats(n)
   local parts = {}
   for i = 1, n do
      parts[i] = ("<f"):pack(i - 1)
   end
   return table.concat(parts)
end

--- What siamese.load makes of the bytes; a message must begin with the file's name.
function M.load(bytes, opts)
   local value, message
   M.temporary(function(path)
      M.write(path, bytes)
      value, message = siamese.load(path, opts)
      if value == nil then
         assert(message:find(path, 1, true) == 1, message)
      end
   end)()
   return value, message
end

--- Asserts that they give nil and a message with that text.
function M.refused(text, bytes)
   local value, message = M.load(bytes)
   assert(value == nil, "it was read; expected: " .. text)
   assert(message:find(text, 1, true), ("expected: %s\ngot: %s"):format(text, message))
   return message
end

return M
