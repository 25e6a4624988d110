--- What specs of the loader share: little class folders, and epochs as plain tables.
local data = require "siamese.data"
local files = require "spec.support_files"

local M = {}

--- root/CLASS/N.pgm, 4 x 3, of the grey 10 * class + n.
function M.write_classes(root, classes, samples)
   for class = 1, classes do
      local folder = ("%s/class%02d"):format(root, class)
      files.make_folder(folder)
      for n = 1, samples do
         files.write(("%s/%02d.pgm"):format(folder, n), files.flat_pgm(4, 3, 10 * class + n))
      end
   end
end

--- The folder as a stream.
function M.stream(root, opts)
   opts = opts or {}
   opts.stream = true
   return assert(data.folder(root, opts))
end

--- The grey of each image of a batch.
function M.greys(images)
   return (images:select(4, 1):select(3, 1):select(2, 1) * 255):round():long():totable()
end

--- All values of an epoch as plain tables.
function M.record(...)
   local out = {}
   local function add(first, ...)
      if first == nil then
         return false
      end
      local row = {}
      for i, value in ipairs{ first, ... } do
         row[i] = value:totable()
      end
      out[#out + 1] = row
      return true
   end
   for a, b, c, d, e, f in data.loader(...) do
      add(a, b, c, d, e, f)
   end
   return out
end

return M
