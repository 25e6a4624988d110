--- The idx files of MNIST (LeCun, Cortes, Burges 1998) and Fashion-MNIST, packed by gzip or not.
-- @module siamese.data.idx
local core = require "siamese.core"
local options = require "siamese.options"
local sets = require "siamese.data.set"

local M = {}

--- Images and labels in idx files.
-- @tparam string images_path an idx file [N,H,W], such as "train-images-idx3-ubyte.gz"
-- @tparam string labels_path an idx file [N]
-- @tparam[opt] table opts `classes` (their names, in the order of their numbers; default "0", "1",
--   ..., as in the file, where they count from 0); `max_bytes` (of an unpacked file, default 1 GiB)
-- @treturn[1] Set uint8 images [N,1,H,W]
-- @treturn[2] nil
-- @treturn[2] string message
-- @usage
-- local dir = "/usr/share/datasets/fashion-mnist/"
-- local set = assert(data.idx(dir .. "t10k-images-idx3-ubyte.gz", dir .. "t10k-labels-idx1-ubyte.gz"))
function M.idx(images_path, labels_path, opts)
   local o = options.check("data.idx", opts, { classes = options.optional, max_bytes = 1 << 30 })
   options.check_path("data.idx", images_path)
   options.check_path("data.idx", labels_path)
   local images, message = core.load_idx(images_path, o.max_bytes)
   if not images then
      return nil, message
   end
   local labels
   labels, message = core.load_idx(labels_path, o.max_bytes)
   if not labels then
      return nil, message
   elseif images:dim() ~= 3 then
      return nil, ("%s: expected images [N,H,W], the file has %d dimensions")
         :format(images_path, images:dim())
   elseif labels:dim() ~= 1 or labels:size(1) ~= images:size(1) then
      return nil, ("%s: expected %d labels [N], as many as images")
         :format(labels_path, images:size(1))
   end
   labels = labels:long() + 1
   local classes = o.classes
   local most = labels:numel() > 0 and labels:max():item() or 0
   if classes and most > #classes then
      return nil, ("%s: has class %d, but only %d classes are named")
         :format(labels_path, most - 1, #classes)
   elseif not classes then
      classes = {}
      for class = 1, most do
         classes[class] = tostring(class - 1)
      end
   end
   return sets.new{ images = images:unsqueeze(2), labels = labels, classes = classes }
end

return M
