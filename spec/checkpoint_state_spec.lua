--- Checkpoints of training: what goes in comes out bit by bit; broken files; what killed writers leave.
local siamese = require "siamese"
local files = require "spec.support_files"
local made = require "spec.support_checkpoints"
local support = require "spec.support"

local checkpoint, nn, optim = siamese.checkpoint, siamese.nn, siamese.optim
local fails, temporary = support.fails, made.temporary

--- A thing whose state is any data.
local function box(value)
   return { value = value, state_dict = function(self)
      return self.value
   end, load_state_dict = function(self, state)
      self.value = state
   end }
end

local function same(a, b)
   if siamese.is_tensor(a) then
      return siamese.is_tensor(b) and a.dtype == b.dtype and a == b
   elseif type(a) ~= "table" then
      return a == b and math.type(a) == math.type(b) or a ~= a and b ~= b
   end
   for key, value in pairs(a) do
      if not same(value, b[key]) then
         return false
      end
   end
   for key in pairs(b) do
      if a[key] == nil then
         return false
      end
   end
   return true
end

describe("checkpoint.save", function()
   it("keeps data of every kind, and tensors among them", temporary(function(path)
      local state = {
         list = { 1, 2.5, "three", false, { 4 } }, names = { a = 1, b = { c = true } }, empty = {},
         holes = { [2] = "b", [5] = "e" }, mixed = { 1, x = 2 }, ["$key"] = 1, [true] = "yes", [0.5] = "half",
         numbers = { 0 / 0, math.huge, -math.huge, -0.0, 1e300, math.mininteger, math.maxinteger, 0.1 },
         strings = { "", "ä", "\0\255\1", 'quote " and \\' },
         tensors = { siamese.randn(2, 3), siamese.tensor({ 1, -7 }, { dtype = "int64" }),
            x = siamese.ones(3):byte(), strided = siamese.randn(4, 4):t(), scalar = siamese.tensor(3) },
         ["a.b"] = { c = siamese.ones(1) }, a = { ["b.c"] = siamese.zeros(1) },
      }
      local thing, other = box(state), box()
      assert(checkpoint.save(path, { thing = thing }, { step = 7, x = siamese.ones(2) }))
      local extra = assert(checkpoint.load(path, { thing = other }))
      assert.is_true(same(state, other.value))
      assert.is_true(same({ step = 7, x = siamese.ones(2) }, extra))
      local first = assert(io.open(path, "rb")):read("a")
      assert(checkpoint.save(path, { thing = thing }, { step = 7, x = siamese.ones(2) }))
      assert.equal(first, assert(io.open(path, "rb")):read("a"))
   end))

   it("keeps the random numbers: siamese's, and those of things", temporary(function(path)
      siamese.manual_seed(3)
      local generator, warp = siamese.Generator(5), siamese.augment.Affine{ rotation = 9, seed = 4 }
      local x = siamese.rand(1, 1, 5, 5)
      local things = { generator = generator, warp = warp }
      generator:uniform()
      assert(checkpoint.save(path, things))
      local wanted = { siamese.rand(3), generator:uniform(), warp(x) }
      siamese.manual_seed(1)
      generator:uniform()
      warp(x)
      assert(checkpoint.load(path, things))
      assert.is_true(same(wanted, { siamese.rand(3), generator:uniform(), warp(x) }))
   end))

   it("takes modules, optimisers, schedules, averages, EarlyStopping and History", temporary(function(path)
      local function make()
         local net = nn.Linear{ in_features = 2, out_features = 1 }
         local opt = optim.AdamW({ { params = { net.weight } }, { params = { net.bias }, lr = 0.1 } }, {})
         return { net = net, opt = opt, average = siamese.averaging.EMA(net),
            schedule = optim.lr_scheduler.OneCycleLR(opt, { max_lr = 1, total_steps = 9 }),
            plateau = optim.lr_scheduler.ReduceLROnPlateau(opt),
            stopping = siamese.EarlyStopping{ model = net }, history = siamese.History{} }
      end
      local function step(t, number)
         t.opt:zero_grad();
         (t.net(siamese.full({ 3, 2 }, number)) ^ 2):mean():backward()
         t.opt:step()
         t.average:update()
         t.schedule:step()
         t.plateau:step(number)
         t.stopping:update(number % 3)
         t.history:add{ step = number }
      end
      siamese.manual_seed(1)
      local first = make()
      for number = 1, 4 do
         step(first, number)
      end
      assert(checkpoint.save(path, first))
      local second = make()
      assert(checkpoint.load(path, second))
      for number = 5, 8 do
         step(first, number)
         step(second, number)
      end
      for name, thing in pairs(first) do
         assert.is_true(same(checkpoint.state_of(thing), checkpoint.state_of(second[name])), name)
      end
   end))

   it("refuses what has no state, and states that are no data", temporary(function(path)
      fails("'x' is a number without a state", checkpoint.save, path, { x = 1 })
      fails("things must be a table of things by name, got a module", checkpoint.save, path, nn.ReLU{})
      fails("names of things must be strings, got 1", checkpoint.save, path, { box{} })
      fails("x.f is a function, which is not data", checkpoint.save, path, { x = box{ f = print } })
      local loop = {}
      loop[1] = loop
      fails("is nested too deep, or in itself", checkpoint.save, path, { x = box(loop) })
      fails("path must be the name of a file, got number", checkpoint.save, 3, {})
   end))

   it("says why a file cannot be written", function()
      local ok, why = checkpoint.save("/nowhere/run.ckpt", {})
      assert.is_nil(ok)
      assert.matches("/nowhere/run.ckpt: could not be written", why)
   end)
end)

describe("checkpoint.load", function()
   it("gives nil and a message for what is missing, no checkpoint, or broken", temporary(function(path)
      local extra, why = checkpoint.load("/nowhere/run.ckpt", {})
      assert.is_nil(extra)
      assert.matches("/nowhere/run.ckpt", why)
      assert(siamese.save(path, siamese.ones(2)))
      assert.matches("is no checkpoint of siamese.checkpoint", select(2, checkpoint.load(path, {})))
      assert(checkpoint.save(path, { x = box{ t = siamese.ones(3), n = 0 / 0 } }))
      local whole = assert(io.open(path, "rb")):read("a")
      for _, change in ipairs{
         { '\\"format\\":1', '\\"format\\":2', "broken, or of another version" },
         { '\\"$number\\":\\"nan', '\\"$number\\":\\"nun', "a number is broken" },
         { '\\"$number\\"', '\\"$nimber\\"', "an unknown kind of value: $nimber" },
         { '{\\"$tensor\\":\\"x.t\\"}', '{\\"$tensor\\":\\"x.u\\"}', "a tensor is missing: x.u" },
         { '\\"extra\\":{}', '\\"extra\\":[1', "broken JSON" },
      } do
         local at = assert(whole:find(change[1], 1, true), change[1])
         local text = whole:sub(1, at - 1) .. change[2] .. whole:sub(at + #change[1])
         files.write(path, text)
         extra, why = checkpoint.load(path, { x = box() })
         assert.is_nil(extra)
         assert.is_truthy(why:find(change[3], 1, true), why)
      end
      for length = 0, #whole - 1, 7 do
         files.write(path, whole:sub(1, length))
         extra, why = checkpoint.load(path, { x = box() })
         assert.is_nil(extra)
         assert.equal("string", type(why))
      end
   end))

   it("takes no file of which a bit has changed for what was written", temporary(function(path)
      local things = { x = box{ t = siamese.rand(5), i = siamese.arange(1, 4, { dtype = "int64" }), n = 17,
         s = "text" } }
      assert(checkpoint.save(path, things, { step = 12345 }))
      local whole = assert(io.open(path, "rb")):read("a")
      local want = assert(checkpoint.read(path))
      local refused = 0
      for at = 1, #whole do
         local byte = whole:byte(at)
         files.write(path, whole:sub(1, at - 1) .. string.char(byte ~ 1 << at % 8) .. whole:sub(at + 1))
         local card, why = checkpoint.read(path)
         if card then -- as where the file says how it is laid out, in other words
            assert.is_true(same(want, card), ("byte %d"):format(at))
         else
            assert.equal("string", type(why))
            refused = refused + 1
         end
      end
      assert.is_true(refused > 0.95 * #whole, ("%d of %d"):format(refused, #whole))
   end))

   it("raises for other things than were saved, before anything is changed", temporary(function(path)
      local net = nn.Linear{ in_features = 2, out_features = 1 }
      assert(checkpoint.save(path, { net = net, x = box{} }))
      local other = nn.Linear{ in_features = 2, out_features = 1 }
      local before = other.weight:clone()
      fails("has no state of 'y' (it has net, x)", checkpoint.load, path,
         { net = other, x = box(), y = box() })
      fails("holds the state of 'x', which nothing here takes", checkpoint.load, path, { net = other })
      assert.is_true(before == other.weight)
      fails("the state of 'net' does not fit: load_state_dict of Linear", checkpoint.load, path,
         { net = nn.Linear{ in_features = 3, out_features = 1 }, x = box() })
   end))
end)

describe("what killed writers leave", function()
   it("is removed when the path is next used; what others write now is not", function()
      local folder = files.temp_folder()
      local path = folder .. "/run.ckpt"
      files.write(path .. ".tmp123", "part")
      files.write(path .. ".tmp99999", "part")
      files.write(path .. ".tmp12x", "not ours")
      files.write(path .. ".tmp", "not ours")
      files.write(folder .. "/other.ckpt.tmp7", "another's")
      assert(checkpoint.save(path, {}))
      local names = siamese.core.list_folder(folder)
      assert.same({ "other.ckpt.tmp7", "run.ckpt", "run.ckpt.tmp", "run.ckpt.tmp12x" }, names)
      files.remove(folder)
   end)
end)

describe("EarlyStopping", function()
   local EarlyStopping = siamese.EarlyStopping

   it("stops when patience runs out, and knows the best", function()
      local stopping, stops = EarlyStopping{ patience = 2 }, {}
      for i, value in ipairs{ 0.5, 0.7, 0.7, 0.6 } do
         stops[i] = stopping:update(value)
      end
      assert.same({ false, false, false, true }, stops)
      assert.equal(0.7, stopping.best)
      assert.equal(2, stopping.best_at)
      stopping = EarlyStopping{ patience = 2, mode = "min", min_delta = 0.1 }
      assert.is_false(stopping:update(1))
      assert.is_false(stopping:update(0.95))
      assert.is_false(stopping.improved)
      assert.is_false(stopping:update(0.89))
      assert.is_true(stopping.improved)
      stopping = EarlyStopping{}
      for _ = 1, 100 do
         assert.is_false(stopping:update(0))
      end
      assert.is_true(EarlyStopping{ patience = 0 }:update(0 / 0))
   end)

   it("keeps the best weights, buffers too", function()
      local net = nn.BatchNorm1d{ num_features = 2 }
      local stopping = EarlyStopping{ model = net, mode = "min" }
      stopping:update(1)
      net.running_mean:fill_(7)
      net.weight:detach():fill_(7)
      stopping:update(2)
      assert.is_true(stopping:restore())
      assert.equal(0, net.running_mean:sum():item())
      assert.equal(2, net.weight:sum():item())
   end)

   it("has no best where the metric never is a number", function()
      local net = nn.Linear{ in_features = 1, out_features = 1 }
      local stopping = EarlyStopping{ patience = 3, model = net }
      assert.is_false(stopping:update(0 / 0))
      assert.is_false(stopping:update(0 / 0))
      assert.is_true(stopping:update(0 / 0))
      assert.is_nil(stopping.best)
      assert.is_false(stopping:restore())
   end)

   it("refuses what is no metric, and states of others", function()
      local stopping = EarlyStopping{}
      fails("EarlyStopping:update: expected a number, got nil", stopping.update, stopping)
      fails("mode must be 'max' or 'min', got 'up'", EarlyStopping, { mode = "up" })
      fails("expected a state with mode 'max', got 'min'", stopping.load_state_dict, stopping,
         EarlyStopping{ mode = "min" }:state_dict())
      fails("it was made without a model", stopping.restore, stopping)
      stopping:update(1)
      local keeper = EarlyStopping{ model = nn.ReLU{} }
      fails("the state has no weights", keeper.load_state_dict, keeper, stopping:state_dict())
   end)
end)

describe("History", function()
   local function text_of(path)
      local file = assert(io.open(path, "rb"))
      local text = file:read("a")
      file:close()
      return text
   end

   it("writes CSV and JSON lines as records come", function()
      local folder = files.temp_folder()
      local csv, jsonl = folder .. "/h.csv", folder .. "/h.jsonl"
      files.write(csv, "of an earlier run\n")
      local history = siamese.History{ csv = csv, jsonl = jsonl }
      assert.equal("of an earlier run\n", text_of(csv))
      assert(history:add{ loss = 0.5, step = 1, note = 'a "b", c' })
      assert.equal('step,loss,note\n1,0.5,"a ""b"", c"\n', text_of(csv))
      assert(history:add{ loss = 0 / 0, step = 2, good = false })
      assert.equal('step,loss,good,note\n1,0.5,,"a ""b"", c"\n2,nan,false,\n', text_of(csv))
      assert(history:add{ loss = math.huge, step = 3 })
      assert.equal('step,loss,good,note\n1,0.5,,"a ""b"", c"\n2,nan,false,\n3,inf,,\n', text_of(csv))
      assert.equal('{"loss":0.5,"note":"a \\"b\\", c","step":1}\n{"good":false,"loss":null,"step":2}\n'
         .. '{"loss":null,"step":3}\n', text_of(jsonl))
      assert.same({ 1, 2, 3 }, (history:column("step")))
      assert.same({ { false }, { 2 } }, { history:column("good") })
      assert.equal(3, #history)
      files.remove(folder)
   end)

   it("goes back to a state, in its files too", function()
      local folder = files.temp_folder()
      local csv = folder .. "/h.csv"
      local history = siamese.History{ csv = csv }
      history:add{ step = 1 }
      local state = history:state_dict()
      history:add{ step = 2, extra = true }
      local file = assert(io.open(csv, "ab"))
      file:write("3,tr") -- cut in the middle
      file:close()
      local again = siamese.History{ csv = csv }
      assert(again:load_state_dict(state))
      assert.equal("step\n1\n", text_of(csv))
      again:add{ step = 2 }
      assert.equal("step\n1\n2\n", text_of(csv))
      assert.same({ { step = 1 }, { step = 2 } }, again.records)
      files.remove(folder)
   end)

   it("says what is wrong with a record or a file", function()
      local history = siamese.History{}
      fails("x must be a number, a string or a boolean, got table", history.add, history, { x = {} })
      fails("keys must be names, got 1", history.add, history, { 5 })
      fails("expected a record, got nil", history.add, history)
      fails("csv must be the name of a file, got 3", siamese.History, { csv = 3 })
      history = siamese.History{ csv = "/nowhere/h.csv" }
      local ok, why = history:add{ step = 1 }
      assert.is_nil(ok)
      assert.matches("/nowhere/h.csv", why)
      assert.equal(1, #history)
   end)
end)
