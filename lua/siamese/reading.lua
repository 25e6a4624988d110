--- Reads many picture files into one tensor, on all threads: what `image.load_batch` and the data sets
-- stand on.
-- @module siamese.reading
local core = require "siamese.core"

local M = {}

--- The pictures at some places of a list, one beside the other.
-- @tparam userdata pictures of `core.loading.pictures`, which have a size
-- @tparam tensor indices int64 [K], counted from 1
-- @tparam string dtype "uint8" or "float32"
-- @treturn tensor [K,C,H,W], zeros where a picture could not be read
-- @treturn table the messages of those that could not be read, by their place in the list
function M.gather(pictures, indices, dtype)
   local loader = core.loading.loader(pictures, { workers = 0, depth = 1, dtype = dtype })
   loader:push(1, indices)
   local _, failures, images = loader:pop()
   loader:stop()
   return images, failures and failures[1] or {}
end

--- All pictures of a list of paths. Parameters as those of `core.loading.pictures`.
-- @treturn[1] tensor [N,C,H,W], zeros where a picture could not be read
-- @treturn[1] table the messages of those that could not be read, by their index
-- @treturn[1] userdata the pictures
-- @treturn[2] nil
-- @treturn[2] string message where no size is given and no picture can be read
function M.load(paths, archives, form)
   local pictures, message = core.loading.pictures(paths, archives, form)
   if not pictures then
      return nil, message
   end
   local all = core.arange(1, #paths + 1, { dtype = "int64" })
   local images, failures = M.gather(pictures, all, form.dtype)
   return images, failures, pictures
end

return M
