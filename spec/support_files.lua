--- Files for specs: temporary folders with pictures made on the spot, and the real data.
local M = {}

function M.write(path, content)
   local file = assert(io.open(path, "wb"))
   file:write(content)
   file:close()
end

function M.make_folder(path)
   assert(os.execute(("mkdir -p '%s'"):format(path)))
end

--- A new empty folder; M.remove() takes it away.
function M.temp_folder()
   local path = os.tmpname()
   os.remove(path)
   M.make_folder(path)
   return path
end

function M.remove(folder)
   assert(folder:match("^/tmp/"), "only temporary folders are removed")
   os.execute(("rm -rf '%s'"):format(folder))
end

--- A grey picture as a PGM file's text; pixel(x, y), counted from 0, gives 0..255.
function M.pgm(width, height, pixel)
   local bytes = {}
   for y = 0, height - 1 do
      for x = 0, width - 1 do
         bytes[#bytes + 1] = string.char(pixel(x, y))
      end
   end
   return ("P5\n%d %d\n255\n"):format(width, height) .. table.concat(bytes)
end

--- A picture of one grey.
function M.flat_pgm(width, height, grey)
   return M.pgm(width, height, function() return grey end)
end

--- An idx file's text.
function M.idx(sizes, bytes)
   local header = string.char(0, 0, 8, #sizes)
   for _, size in ipairs(sizes) do
      header = header .. (">I4"):pack(size)
   end
   return header .. bytes
end

-- Archives

local function crc32(text)
   local crc = 0xFFFFFFFF
   for i = 1, #text do
      crc = crc ~ text:byte(i)
      for _ = 1, 8 do
         crc = (crc >> 1) ~ (crc & 1 == 1 and 0xEDB88320 or 0)
      end
   end
   return ~crc & 0xFFFFFFFF
end

--- DEFLATE without compression: one stored block (of less than 64 KiB).
function M.deflated(text)
   return ("<I1I2I2"):pack(1, #text, ~#text & 0xFFFF) .. text
end

--- A zip archive's text. Entries are { name, content } or { name, content, packed = bytes (DEFLATE), flags =,
-- method =, crc =, size = }; names that end in "/" are folders.
function M.zip(entries)
   local parts, directory, at = {}, {}, 0
   for _, entry in ipairs(entries) do
      local name, content = entry[1], entry[2] or ""
      local packed = entry.packed or content
      local method = entry.method or entry.packed and 8 or 0
      local head = ("<I2I2I2I2I2I4I4I4I2I2"):pack(20, entry.flags or 0, method, 0, 0,
         entry.crc or crc32(content),
         #packed, entry.size or #content, #name, 0)
      local whole = "PK\3\4" .. head .. name .. packed
      directory[#directory + 1] = "PK\1\2" .. ("<I2"):pack(20) .. head .. ("<I2I2I2I4I4"):pack(0, 0, 0, 0, at)
         .. name
      parts[#parts + 1] = whole
      at = at + #whole
   end
   local list = table.concat(directory)
   return table.concat(parts) .. list
      .. "PK\5\6" .. ("<I2I2I2I2I4I4I2"):pack(0, 0, #entries, #entries, #list, at, 0)
end

--- The unpacked real data (see tools/data.sh), or nil and why it is absent.
function M.real_data(what)
   local into = os.getenv("SIAMESE_UNPACKED") or "build/data"
   local probe = io.open(into .. "/" .. what)
   if not probe then
      os.execute(("tools/data.sh '%s' '%s' 2>/dev/null")
         :format(os.getenv("SIAMESE_DATA") or "../shared/data", into))
      probe = io.open(into .. "/" .. what)
   end
   if not probe then
      return nil, "the real data is absent: " .. what
   end
   probe:close()
   return into .. "/" .. what
end

return M
