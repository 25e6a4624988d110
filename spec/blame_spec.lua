--- Errors are blamed on the line of the script that called into the library, however deep they are raised.
local siamese = require "siamese"

local nn, models = siamese.nn, siamese.models

local Net = nn.Module:extend("Net")

function Net:init()
   self.fc = nn.Linear{ in_features = 2, out_features = 2 }
end

function Net:forward(x)
   local y = self.fc(x)
   return y
end

local net = models.resnet20{}

--- By what is wrong, a function that does it on its second line.
local WRONG = {
   ["linear: input [1,3] does not end in the 2 features"] = function()
      local y = nn.Sequential{ nn.Linear{ in_features = 2, out_features = 2 } }(siamese.zeros(1, 3))
      return y
   end,
   ["linear: tensor expected, got string"] = function()
      local y = nn.Linear{ in_features = 2, out_features = 2 }("x")
      return y
   end,
   ["gru: length 9 of sequence 1 is out of range 1..3"] = function()
      local y = nn.GRU{ input_size = 2, hidden_size = 2 }(siamese.zeros(3, 1, 2), nil, { lengths = { 9 } })
      return y
   end,
   ["models.resnet20: the input must be [N,3,H,W], got [1,1,8,8]"] = function()
      net:summary{ input = { 1, 1, 8, 8 } }
   end,
   ["models.resnet20: the input must be float32, got int64"] = function()
      local y = net(siamese.zeros({ 1, 3, 8, 8 }, { dtype = "int64" }))
      return y
   end,
   ["batch_norm: more than one value per channel is needed in training"] = function()
      local y = net(siamese.zeros(1, 3, 1, 1))
      return y
   end,
   ["freeze: no parameter's name begins with 'layer9'"] = function()
      net:freeze("layer9")
   end,
   ["models.resnet20: shortcut must be 'A' or 'B', got 'C'"] = function()
      local y = models.resnet20{ shortcut = "C" }
      return y
   end,
   ["siamese.save: metadata's 'a' must be a string, got 1"] = function()
      siamese.save("/nowhere", siamese.zeros(1), { metadata = { a = 1 } })
   end,
   ["nn.Linear: out_features must be an integer of at least 1, got 0"] = function()
      local y = nn.Linear{ in_features = 2, out_features = 0 }
      return y
   end,
   ["losses.NTXent: unknown option 'temprature' (did you mean 'temperature'?)"] = function()
      local y = siamese.losses.NTXent{ temprature = 1 }
      return y
   end,
   ["data set: 2 images but 1 labels"] = function()
      local y = siamese.data.set{ images = siamese.zeros(2, 1, 4, 4), labels = { 1 }, classes = { "a" } }
      return y
   end,
   ["metrics.auc: expected one 1 or 0 a pair, [2], got [1]"] = function()
      local y = siamese.metrics.auc({ 1, 2 }, { 1 })
      return y
   end,
   ["siamese.fit: the data of epoch 1 are empty"] = function()
      local y = siamese.fit{ model = net, loss = siamese.losses.NTXent{}, epochs = 1, data = function()
         return function() end
      end, optimizer = siamese.optim.SGD(net:parameters(), { lr = 1 }) }
      return y
   end,
   ["zeros: size 2 must be an integer, got 3.5"] = function()
      net:summary{ input = { 1, 3.5, 8, 8 } }
   end,
}

describe("an error raised in the library", function()
   it("has the position of the script's line", function()
      for text, fails in pairs(WRONG) do
         local ok, message = pcall(fails)
         local wanted = ("spec/blame_spec.lua:%d: %s"):format(debug.getinfo(fails, "S").linedefined + 1, text)
         assert.is_false(ok)
         assert.equal(wanted, message:match("spec/.*"):sub(1, #wanted))
      end
   end)

   it("is the caller's own where a layer is the script's, too", function()
      local ok, message = pcall(function()
         local y = Net()(siamese.zeros(1, 3))
         return y
      end)
      assert.is_false(ok)
      local wanted = ("spec/blame_spec.lua:%d: linear: input [1,3]"):format(
         debug.getinfo(Net.forward, "S").linedefined + 1)
      assert.truthy(message:find(wanted, 1, true), message)
   end)

   it("is the line of a script's own layer that asks for one that cannot be", function()
      local Own = nn.Module:extend("Own")
      function Own:init(width)
         self.fc = nn.Linear{ in_features = width, out_features = width }
      end
      local _, message = pcall(function()
         local y = Own(0)
         return y
      end)
      local wanted = ("spec/blame_spec.lua:%d: nn.Linear: in_features must be an integer of at least 1")
         :format(debug.getinfo(Own.init, "S").linedefined + 1)
      assert.truthy(message:find(wanted, 1, true), message)
   end)

   it("is an argument's where the script calls the function itself", function()
      local _, message = pcall(function()
         local y = siamese.zeros(2):matmul(siamese.zeros(3))
         return y
      end)
      assert.matches("^[^:]*spec/blame_spec.lua:%d+: bad argument #1 to 'matmul' %(matmul: shapes", message)
   end)
end)
