--- Encoders of the literature, ready to be a twin's.
--
--    local net = models.resnet18{ embedding = 128 }       -- pictures [N,3,H,W] to [N,128]
--    local net = models.mobilenet_v2{ in_channels = 1 }   -- its own features, [N,1280]
--    local net = models.vgg16{ num_classes = 1000 }       -- torchvision's classifier
--    print(net:summary{ input = { 1, 3, 224, 224 } })
--
-- A builder takes `weights`, too: a file that `siamese.load` reads, as PyTorch or this library writes it.
--
--    local net, report = models.resnet18{ weights = "resnet18-f37072fd.pth", embedding = 128 }
--    assert(net, report)
--    print(report)                 -- what was loaded, what was left out (the classifier), what is new
--
-- Of a file in which the network is a part, the part is named as for `siamese.load`:
--
--    models.resnet18{ weights = { "twin.safetensors", strip_prefix = "encoder." }, embedding = 128 }
--
-- Without `num_classes` the file's classifier need not fit and the embedding need not be in the file;
-- everything else must, or the result is nil and a message with names and shapes.
--
-- Structure, names and start are torchvision's where it has the network. Each works at any size of picture
-- that its arithmetic allows and names the smallest where it doesn't. The classes behind the builders
-- (`models.ResNet`, `models.VGG`, ...) are there to be subclassed; a stage of an instance may be replaced
-- as well: `net.layer4 = nn.Identity{}`.
-- @module siamese.models
local M = {}

for _, part in ipairs{ "classic", "vgg", "resnet", "cifar_resnet", "googlenet", "inception",
   "mobilenet", "mobilenet_v3", "sequence" } do
   for name, value in pairs(require("siamese.models." .. part)) do
      M[name] = value
   end
end

return M
