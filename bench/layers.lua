--- The single layers that the benchmark times: those that take the time in its networks, at its batches
-- (both sides of a pair). Each row becomes a line of words for either side:
-- kind, batch, channels, size of the image, and what the kind takes.
local M = {}

-- name, batch, channels in, size, channels out, kernel, stride, padding, groups
local convolutions = {
   { "conv4 first", 128, 1, 28, 64, 3, 1, 1, 1 },
   { "conv4 3x3", 128, 64, 14, 64, 3, 1, 1, 1 },
   { "lenet 5x5", 128, 6, 14, 16, 5, 1, 0, 1 },
   { "koch 10x10", 32, 1, 105, 64, 10, 1, 0, 1 },
   { "koch 7x7", 32, 64, 48, 128, 7, 1, 0, 1 },
   { "koch 4x4", 32, 128, 21, 128, 4, 1, 0, 1 },
   { "vgg first", 16, 3, 112, 64, 3, 1, 1, 1 },
   { "vgg 3x3", 16, 256, 28, 256, 3, 1, 1, 1 },
   { "vgg last", 16, 512, 7, 512, 3, 1, 1, 1 },
   { "resnet first 7x7/2", 32, 3, 112, 64, 7, 2, 3, 1 },
   { "resnet 3x3", 32, 64, 28, 64, 3, 1, 1, 1 },
   { "resnet 3x3/2", 32, 64, 28, 128, 3, 2, 1, 1 },
   { "resnet last", 32, 512, 4, 512, 3, 1, 1, 1 },
   { "resnet50 1x1 wide", 16, 64, 28, 256, 1, 1, 0, 1 },
   { "resnet50 1x1 narrow", 16, 256, 28, 64, 1, 1, 0, 1 },
   { "resnet50 1x1/2", 16, 256, 28, 512, 1, 2, 0, 1 },
   { "mobilenet 1x1 wide", 32, 16, 56, 96, 1, 1, 0, 1 },
   { "mobilenet 1x1 narrow", 32, 144, 28, 24, 1, 1, 0, 1 },
   { "mobilenet depthwise", 32, 32, 56, 32, 3, 1, 1, 32 },
   { "mobilenet depthwise/2", 32, 96, 56, 96, 3, 2, 1, 96 },
   { "mobilenet deep", 32, 384, 7, 384, 3, 1, 1, 384 },
}

local function add(...)
   M[#M + 1] = table.pack(...)
end

for _, row in ipairs(convolutions) do
   add(row[1], "conv2d", table.unpack(row, 2))
end
-- name, kind, batch, channels, size, kernel, stride, padding
add("conv4 max pool", "max_pool2d", 128, 64, 28, 2, 2, 0)
add("resnet max pool", "max_pool2d", 32, 64, 56, 3, 2, 1)
add("average pool", "avg_pool2d", 32, 512, 8, 2, 2, 0)
-- name, kind, batch, channels, size
add("conv4 batch norm", "batch_norm2d", 128, 64, 28)
add("resnet batch norm", "batch_norm2d", 32, 256, 14)
-- name, kind, batch, features in, features out
add("koch linear", "linear", 32, 9216, 4096)
add("lenet linear", "linear", 128, 400, 120)

return M
