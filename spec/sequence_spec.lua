--- Recurrent encoders: pooling, lengths, twins of sequences, what they refuse.
local siamese = require "siamese"
local record = require "siamese.record"
local support = require "spec.support"

local models = siamese.models

--- Sequences of 7, 3, 5 and 1 steps of 4 features.
local function sequences()
   siamese.manual_seed(8)
   local list = {}
   for i, steps in ipairs{ 7, 3, 5, 1 } do
      list[i] = siamese.randn(steps, 4)
   end
   return list
end

describe("a sequence encoder", function()
   for _, cell in ipairs{ "lstm", "gru", "rnn" } do
      for _, pool in ipairs{ "last", "mean", "max" } do
         for _, both in ipairs{ false, true } do
            it(("of %s, %s%s, gives for padded sequences what it gives for each by itself"):format(cell, pool,
               both and ", both directions" or ""), function()
               local list = sequences()
               local net = models.sequence_encoder{ in_features = 4, hidden_size = 5, num_layers = 2,
                  cell = cell, pool = pool, bidirectional = both, embedding = 3 }
               local padded, lengths = models.pad_sequences(list, { steps = 9 })
               assert.same({ { 4, 9, 4 }, { 7, 3, 5, 1 } }, { padded.shape, lengths:totable() })
               local y = net(padded)
               assert.same({ 4, 3 }, y.shape)
               y:square():sum():backward()
               local grads = {}
               for name, tensor in net:named_parameters() do
                  grads[name] = tensor.grad
               end
               net:zero_grad()
               support.close(net(padded:masked_fill(padded:isnan(), 1e9), { lengths = { 7, 3, 5, 1 } }), y)
               for i, t in ipairs(list) do
                  local alone = net(t:unsqueeze(1))
                  support.close(alone[1], y[i], 1e-4, 1e-5)
                  alone:square():sum():backward()
               end
               for name, tensor in net:named_parameters() do
                  support.close(tensor.grad, grads[name], 1e-3, 1e-4)
               end
            end)
         end
      end
   end

   it("is PyTorch's layer with the last state, the mean or the maximum", function()
      local net = models.sequence_encoder{ in_features = 4, hidden_size = 5, bidirectional = true }
      local x = siamese.randn(3, 6, 4)
      local y, state = net.rnn(x)
      support.close(net(x), siamese.cat({ state[1][1], state[1][2] }, 2))
      support.close(net(x), siamese.cat({ y:select(2, 6):narrow(2, 1, 5),
         y:select(2, 1):narrow(2, 6, 5) }, 2))
      net.pool = "mean"
      support.close(net(x), y:mean(2))
      net.pool = "max"
      support.close(net(x), (y:amax(2)))
      assert.equal(10, net.out_features)
   end)

   it("passes no gradient to steps that are none", function()
      local net = models.sequence_encoder{ in_features = 4, hidden_size = 5, pool = "mean" }
      local x = models.pad_sequences(sequences()):requires_grad_()
      net(x):sum():backward()
      assert.equal(0, x.grad[2]:narrow(1, 4, 4):abs():max():item())
      assert.is_true(x.grad[2]:narrow(1, 1, 3):abs():min():item() > 0)
   end)

   it("learns, as a Manhattan LSTM, which sequences rise", function()
      siamese.manual_seed(3)
      local net = models.sequence_encoder{ in_features = 1, hidden_size = 8, forget_bias = 2.5 }
      local twin = siamese.Twin{ encoder = net, distance = "l1" }
      local loss = siamese.losses.Contrastive{ margin = 1 }
      local opt = siamese.optim.Adam(twin:parameters(), { lr = 0.02 })
      local random = siamese.Generator(5)
      local function draw(n) -- noise that rises or falls, of 3 to 8 steps
         local list, kinds = {}, {}
         for i = 1, n do
            local steps, kind = 2 + random:random(6), random:random(2)
            local slope = siamese.arange(steps):view(steps, 1) * (kind == 1 and 0.5 or -0.5)
            list[i], kinds[i] = slope + siamese.randn(steps, 1) * 0.5 + random:normal(), kind
         end
         return (models.pad_sequences(list, { steps = 8 })), siamese.tensor(kinds)
      end
      local first, last
      for step = 1, 60 do
         local a, ka = draw(32)
         local b, kb = draw(32)
         opt:zero_grad()
         local value = loss(twin(a, b), ka:eq(kb):float())
         value:backward()
         opt:step()
         first, last = first or value:item(), step > 55 and value:item() or last
      end
      assert.is_true(last < 0.3 * first, ("loss from %g to %g"):format(first, last))
      local a, b = draw(4), draw(4)
      support.close(twin:similarity(a, b), (-twin:distance(a, b)):exp())
   end)

   it("begins with open forget gates where it is told to", function()
      local net = models.sequence_encoder{ in_features = 2, hidden_size = 3, num_layers = 2,
         forget_bias = 2.5 }
      for layer = 0, 1 do
         local ih, hh = net.rnn["bias_ih_l" .. layer], net.rnn["bias_hh_l" .. layer]
         assert.same({ 2.5, 2.5, 2.5 }, (ih + hh):narrow(1, 4, 3):totable())
         assert.is_true(ih:narrow(1, 1, 3):abs():min():item() > 0)
      end
      assert.is_true(net.rnn.bias_ih_l0.requires_grad)
   end)

   it("has a summary and a record, and freezes like other networks", function()
      local net = models.sequence_encoder{ in_features = 3, hidden_size = 6, num_classes = 2 }
      local s = net:summary{ input = { 2, 7, 3 } }
      assert.equal(4 * 6 * (3 + 6) + 2 * 4 * 6 + 6 * 2 + 2, s.parameters)
      assert.equal(2 * 7 * 6 * 4 * (3 + 6) + 2 * 6 * 2, s.multiply_adds)
      local again = assert(record.build(assert(record.of(net))))
      assert.equal(tostring(net), tostring(again))
      net:freeze("rnn")
      net(siamese.randn(2, 7, 3)):sum():backward()
      assert.is_nil(net.rnn.weight_ih_l0.grad)
      assert.is_truthy(net.fc.weight.grad)
   end)

   it("refuses what is no sequence", function()
      local net = models.sequence_encoder{ in_features = 3, hidden_size = 6 }
      support.fails("models.sequence_encoder: the input must be [N,T,3], got [2,4]", net, siamese.zeros(2, 4))
      support.fails("models.sequence_encoder: the input must be [N,T,3], got [2,0,3]", net,
         siamese.zeros(2, 0, 3))
      support.fails("models.sequence_encoder: expected a tensor, got nil", net)
      local x = siamese.zeros(2, 4, 3)
      x[2]:narrow(1, 2, 1):fill_(0 / 0)
      support.fails("models.sequence_encoder: a sequence goes on behind a step that is NaN", net, x)
      x[2]:fill_(0 / 0)
      support.fails("models.sequence_encoder: sequence 2 has no steps", net, x)
      support.fails("length 5 of sequence 1 is out of range 1..4", net, siamese.zeros(1, 4, 3),
         { lengths = { 5 } })
      support.fails("unknown option 'length'", net, siamese.zeros(1, 4, 3), { length = { 5 } })
      assert.same({ 0, 6 }, net(siamese.zeros(0, 4, 3)).shape)
   end)

   it("refuses options that make no sense", function()
      local function fails(message, o)
         o.in_features = o.in_features or 3
         support.fails("models.sequence_encoder: " .. message, models.sequence_encoder, o)
      end
      fails("cell must be 'lstm' or 'gru' or 'rnn', got 'gur'", { cell = "gur" })
      fails("pool must be 'last' or 'mean' or 'max', got 'sum'", { pool = "sum" })
      fails("forget_bias is an LSTM's, cell is 'gru'", { cell = "gru", forget_bias = 1 })
      fails("hidden_size must be an integer of at least 1, got 0", { hidden_size = 0 })
      fails("give embedding or num_classes, not both", { embedding = 1, num_classes = 2 })
      support.fails("models.sequence_encoder: option 'in_features' is required", models.sequence_encoder, {})
   end)
end)

describe("pad_sequences", function()
   it("refuses what doesn't go together", function()
      support.fails("models.pad_sequences: expected a list of tensors", models.pad_sequences, {})
      support.fails("models.pad_sequences: sequence 2 must be [T,4], got [3,5]", models.pad_sequences,
         { siamese.zeros(2, 4), siamese.zeros(3, 5) })
      support.fails("models.pad_sequences: sequence 1 is a number, expected a tensor", models.pad_sequences,
         { 3 })
      support.fails("models.pad_sequences: sequence 1 must be [T,I], got [0,4]", models.pad_sequences,
         { siamese.zeros(0, 4) })
      support.fails("steps must be an integer of at least 3, got 2", models.pad_sequences,
         { siamese.zeros(3, 4) }, { steps = 2 })
   end)

   it("joins integers, too, and keeps gradients", function()
      local a = siamese.ones(2, 1, { requires_grad = true })
      local x = models.pad_sequences{ a, siamese.tensor({ { 5 }, { 6 }, { 7 } }, { dtype = "int64" }) }
      assert.same({ { 1 }, { 1 } }, x[1]:narrow(1, 1, 2):totable())
      assert.is_true(x[1][3]:isnan():item() == 1)
      assert.same({ { 5 }, { 6 }, { 7 } }, x[2]:totable())
      x[1]:narrow(1, 1, 2):sum():backward()
      assert.same({ { 1 }, { 1 } }, a.grad:totable())
   end)
end)
