--- Protocol buffers (the wire format), as far as writing ONNX needs them.
--
-- A message is put together of pieces: strings, and tensors whose bytes are copied only by what writes the
-- file. It knows its size, so that it can lie in another.
-- @module siamese.onnx.protobuf
local core = require "siamese.core"

local Message = {}
Message.__index = Message

local SIZES = { float32 = 4, int64 = 8, uint8 = 1 }
local VARINT, LENGTH, FIXED32 = 0, 2, 5

local function varint(value)
   local bytes = {}
   while value < 0 or value > 127 do -- negative: as unsigned, ten bytes
      bytes[#bytes + 1] = string.char(value & 127 | 128)
      value = value >> 7
   end
   bytes[#bytes + 1] = string.char(value)
   return table.concat(bytes)
end

local function put(self, piece, size)
   self.pieces[#self.pieces + 1] = piece
   self.size = self.size + size
   return self
end

local function head(self, field, wire)
   local bytes = varint(field << 3 | wire)
   return put(self, bytes, #bytes)
end

--- An integer, or 0 or 1 of a boolean.
function Message:integer(field, value)
   local bytes = varint(value)
   return put(head(self, field, VARINT), bytes, #bytes)
end

--- A list of integers.
function Message:integers(field, list)
   for _, value in ipairs(list) do
      self:integer(field, value)
   end
   return self
end

--- A float.
function Message:float(field, value)
   return put(head(self, field, FIXED32), ("<f"):pack(value), 4)
end

local function length(self, field, size)
   local bytes = varint(size)
   return put(head(self, field, LENGTH), bytes, #bytes)
end

--- A string.
function Message:string(field, text)
   return put(length(self, field, #text), text, #text)
end

--- The bytes of a contiguous tensor, little-endian as the processors are that the core is built for.
function Message:tensor(field, tensor)
   local size = tensor:numel() * SIZES[tensor.dtype]
   return put(length(self, field, size), tensor, size)
end

--- A message.
function Message:message(field, message)
   return put(length(self, field, message.size), message, message.size)
end

local function flatten(self, list)
   for _, piece in ipairs(self.pieces) do
      if getmetatable(piece) == Message then
         flatten(piece, list)
      elseif core.is_tensor(piece) or type(list[#list]) ~= "table" then
         list[#list + 1] = core.is_tensor(piece) and piece or { piece }
      else
         table.insert(list[#list], piece)
      end
   end
   return list
end

--- All of it as a list of strings and tensors, for `core.write_file`.
function Message:flat()
   local list = flatten(self, {})
   for i, item in ipairs(list) do
      list[i] = type(item) == "table" and table.concat(item) or item
   end
   return list
end

--- A new message.
return function()
   return setmetatable({ pieces = {}, size = 0 }, Message)
end
