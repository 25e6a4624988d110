--- Records of how networks were built, and the JSON that they travel as.
local siamese = require "siamese"
local json = require "siamese.json"
local record = require "siamese.record"
local support = require "spec.support"

local models, nn = siamese.models, siamese.nn

--- The record through text, as a file carries it.
local function travel(module)
   return assert(record.build(assert(json.decode(json.encode(assert(record.of(module)))))))
end

describe("the record of", function()
   it("a model is its name and all its options", function()
      local o = { in_channels = 3, width = 8, size = 32, embedding = 5, bias = true }
      assert.same({ name = "models.conv4", options = o }, record.of(models.conv4(o)))
      assert.same({ name = "models.lenet5", options = { in_channels = 1, embedding = 84, size = 28 } },
         record.of(models.lenet5{}))
      assert.same({ name = "models.koch", options = { in_channels = 1, filters = { 1, 2, 3, 4 },
         features = 2, size = 105 } }, record.of(models.koch{ filters = { 1, 2, 3, 4 }, features = 2 }))
   end)

   it("a model builds the same structure again", function()
      for _, net in ipairs{ models.conv4{ width = 4, embedding = 3 }, models.lenet5{ embedding = 2 },
         models.koch{ filters = { 1, 1, 1, 1 }, features = 2 } } do
         local again = travel(net)
         assert.equal(tostring(net), tostring(again))
         assert.same(record.of(net), record.of(again))
         again:load_state_dict(net:state_dict())
      end
   end)

   it("a model is the caller's own copy", function()
      local net = models.koch{ filters = { 1, 2, 3, 4 }, features = 2 }
      record.of(net).options.filters[1] = 9
      assert.equal(1, record.of(net).options.filters[1])
   end)

   it("layers and sequences of them is their options", function()
      local net = nn.Sequential{ nn.Conv2d{ in_channels = 1, out_channels = 2, kernel_size = { 3, 1 } },
         nn.ReLU{}, nn.Sequential{ nn.Dropout{ p = 0.25 }, nn.Flatten{} },
         nn.LayerNorm{ normalized_shape = 4 },
         nn.Linear{ in_features = 4, out_features = 2, bias = false } }
      assert.same({ name = "nn.Dropout", options = { p = 0.25 } }, record.of(net[3][1]))
      assert.equal(tostring(net), tostring(travel(net)))
   end)

   it("residual blocks is how wide they are and their shortcuts", function()
      local shortcut = nn.Sequential{ nn.Conv2d{ in_channels = 2, out_channels = 4, kernel_size = 1,
         stride = 2, bias = false }, nn.BatchNorm2d{ num_features = 4 } }
      local net = nn.Sequential{ models.BasicBlock(2, 4, 2, shortcut), models.BasicBlock(4, 4),
         models.Bottleneck(4, 1) }
      assert.same({ name = "models.Bottleneck", options = { in_channels = 4, width = 1, stride = 1 } },
         record.of(net[3]))
      local again = travel(net)
      again:load_state_dict(net:state_dict())
      local x = siamese.randn(3, 2, 8, 8)
      assert.is_true(net(x) == again(x))
      net[2].conv2 = nn.Conv2d{ in_channels = 4, out_channels = 4, kernel_size = 1 }
      assert.same({ nil, "module 2 of it: it was changed after models.BasicBlock built it" },
         { record.of(net) })
      local Own = models.BasicBlock:extend("BasicBlock")
      assert.same({ nil, "nothing can build a BasicBlock again" }, { record.of(Own(4, 4)) })
      assert.same({ nil, "models.BasicBlock: in_channels must be an integer of at least 1, got 0" },
         { record.build{ name = "models.BasicBlock", options = { in_channels = 0, width = 1 } } })
      assert.same({ nil, "nothing here builds 'x'" }, { record.build{ name = "models.BasicBlock",
         options = { in_channels = 1, width = 1, downsample = { name = "x", options = {} } } } })
   end)

   it("a twin is its encoder, its distance and its head", function()
      local twin = siamese.Twin{ encoder = models.conv4{ width = 4 }, distance = "cosine" }
      assert.equal("cosine", record.of(twin).options.distance)
      assert.equal(tostring(twin), tostring(travel(twin)))
      twin = siamese.Twin{ encoder = models.lenet5{}, head = nn.WeightedL1{ features = 84, bias = false } }
      assert.equal(tostring(twin), tostring(travel(twin)))
      assert.is_nil(travel(twin).head.linear.bias)
   end)

   it("a model that was changed afterwards is not the model's", function()
      local net = models.lenet5{}
      net[11] = nn.Linear{ in_features = 84, out_features = 2, bias = false }
      assert.equal("nn.Sequential", record.of(net).name)
      local Net = nn.Module:extend("Net")
      function Net:init()
         self.fc = nn.Linear{ in_features = 1, out_features = 1 }
      end
      local own = record.set(Net(), "own", { width = 1 })
      assert.same({ width = 1 }, record.of(own).options)
      own.fc = nn.Linear{ in_features = 1, out_features = 2 }
      assert.same({ nil, "it was changed after own built it" }, { record.of(own) })
   end)

   it("what is not data, or has no builder, is not there, and says why", function()
      local Net = nn.Module:extend("Net")
      assert.same({ nil, "nothing can build a Net again" }, { record.of(Net()) })
      local net = record.set(Net(), "own", { norm = print })
      assert.same({ nil, "own.norm is a function, which is not data" }, { record.of(net) })
      assert.same({ nil, "own.list.2 is not a finite number" },
         { record.of(record.set(Net(), "own", { list = { 1, 0 / 0 } })) })
      assert.same({ nil, "own.t is a list with names" },
         { record.of(record.set(Net(), "own", { t = { 1, a = 2 } })) })
      local loop = {}
      loop.loop = loop
      local _, why = record.of(record.set(Net(), "own", { t = loop }))
      assert.matches("nested too deep", why)
      local twin = siamese.Twin{ encoder = models.lenet5{}, distance = function(a) return a:sum(2) end }
      assert.same({ nil, "its distance is a function, which is not data" }, { record.of(twin) })
      assert.same({ nil, "its encoder: nothing can build a Net again" },
         { record.of(siamese.Twin{ encoder = Net() }) })
      assert.same({ nil, "module 2 of it: nothing can build a Net again" },
         { record.of(nn.Sequential{ nn.ReLU{}, Net() }) })
   end)

   it("a model does not tell where its weights came from", function()
      local net = record.set(nn.ReLU{}, "own", { weights = "/home/me/secret.pth", width = 2 })
      assert.same({ width = 2 }, record.of(net).options)
   end)

   it("what a user registers is built by the user's function", function()
      local function build(opts)
         return record.set(nn.Linear{ in_features = opts.width, out_features = 1 }, "spec.own", opts)
      end
      record.register("spec.own", build)
      assert.equal("Linear(in_features=7, out_features=1, bias=true)", tostring(travel(build{ width = 7 })))
   end)
end)

describe("a record is refused, with a message,", function()
   local function refused(text, given)
      local module, message = record.build(given)
      assert.is_nil(module)
      assert(message:find(text, 1, true), message)
   end

   it("that is none", function()
      refused("must have a name and options", nil)
      refused("must have a name and options", { name = "models.conv4" })
      refused("must have a name and options", { name = 1, options = {} })
      refused("unknown key 'code'", { name = "models.conv4", options = {}, code = "os.exit()" })
   end)

   it("with a name that nobody registered", function()
      refused("nothing here builds 'os.execute'", { name = "os.execute", options = {} })
      refused("nothing here builds 'models.__index'", { name = "models.__index", options = {} })
   end)

   it("with options that the builder refuses, by the builder's message alone", function()
      local module, message = record.build{ name = "models.conv4", options = { widht = 3 } }
      assert.is_nil(module)
      assert.equal("models.conv4: unknown option 'widht' (did you mean 'width'?)", message)
      refused("width must be an integer of at least 1, got -1",
         { name = "models.conv4", options = { width = -1 } })
      refused("nothing here builds 'x'",
         { name = "Twin", options = { encoder = { name = "x", options = {} } } })
      refused("must have a name and options", { name = "Twin", options = { encoder = "x" } })
      refused("encoder", { name = "Twin", options = {} })
      refused("must have a name and options", { name = "nn.Sequential", options = { 1 } })
   end)

   it("as misuse where a script makes the mistake", function()
      support.fails("record.set: expected a module, got table", record.set, {}, "x", {})
      support.fails("record.set: expected a name and a table of options", record.set, nn.ReLU{}, "x")
      support.fails("record.of: expected a module, got number", record.of, 1)
      support.fails("record.register: expected a name and a function", record.register, "x", 1)
   end)
end)

describe("JSON", function()
   it("comes back as it went", function()
      local values = { 0, -1, math.maxinteger, math.mininteger, 0.1, 1.0, -0.0, 1e300, 5e-324, true, false,
         "", 'a "quoted" \\ path/\n\t\r\b\f\1\127 ü 😀', {}, { 1, { 2, {} } }, { a = { b = { 1.5, "x" } } } }
      for _, value in ipairs(values) do
         local back = json.decode(json.encode(value))
         assert.same(value, back)
         assert.equal(math.type(value), math.type(back))
      end
      assert.equal(-1 / 0, 1 / json.decode(json.encode(-0.0)))
   end)

   it("is written with sorted keys", function()
      assert.equal('{"a":1,"b":[true,null],"c":{}}', json.encode{ c = {}, b = { true, json.null }, a = 1 })
   end)

   it("is read with white space, escapes and both kinds of nothing", function()
      assert.same({ a = { {}, {} }, ["b\""] = "/é😀" },
         json.decode(' {"a" :\t[ [ ] , { } ],\r\n"b\\"":"\\/\\u00e9\\ud83d\\ude00"} '))
      assert.equal(json.null, json.decode("null"))
      assert.equal(-1.5e3, json.decode("-1.5E+3"))
      assert.equal("float", math.type(json.decode("18446744073709551616")))
   end)

   local broken = { "", " ", "{", "[1,]", "[1 2]", "{\"a\"}", "{\"a\":1,}", "{a:1}", "{1:2}", "01", "-",
      "+1", "1.", ".5", "1e", "nan", "Infinity", "nul", "truth", "'a'", '"a', '"\\x"', '"\\u12"',
      '"\\ud800"', '"\\udc00"', '"\n"', '"\xff"', "[1]]", "1 1", '{"a":1,"a":2}', "1e999",
      ("["):rep(70) .. ("]"):rep(70), ("["):rep(1e5) }
   it("that is broken gives nil and where", function()
      for _, text in ipairs(broken) do
         local value, message = json.decode(text)
         assert.is_nil(value, text)
         assert.matches("^broken JSON: .* at byte %d+$", message)
      end
   end)

   it("cut anywhere is broken", function()
      local text = json.encode{ a = { 1, 2.5, "x\n" }, b = { c = true } }
      for length = 0, #text - 1 do
         assert.is_nil((json.decode(text:sub(1, length))))
      end
   end)

   it("has no form for what is no data", function()
      support.fails("json.encode: a function is no data", json.encode, { print })
      support.fails("has no form in JSON", json.encode, { 0 / 0 })
      support.fails("json.encode: keys must be strings or 1 to n", json.encode, { [3] = 1 })
      support.fails("json.encode: keys must be strings or 1 to n", json.encode, { 1, a = 2 })
      support.fails("json.encode: a string must be UTF-8", json.encode, "\xff")
      local loop = {}
      loop[1] = loop
      support.fails("or in itself", json.encode, loop)
      support.fails("json.decode: expected a string, got nil", json.decode)
   end)
end)
