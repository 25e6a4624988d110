--- Recurrent networks: PyTorch's outputs, states and gradients; finite differences; lengths; what is refused.
local siamese = require "siamese"
local support = require "spec.support"

local nn, F = siamese.nn, siamese.nn.functional

local function tensor_of(...)
   siamese.manual_seed(5)
   return siamese.randn(...)
end

--- The golden case's layer with its parameters, its input and the state it begins with.
local function build(case, strided)
   local net, state, inputs = nn[case.kind](case.options), {}, {}
   for name, item in pairs(case.parameters) do
      state[name] = support.tensor(item)
   end
   net:load_state_dict(state)
   for name, item in pairs(case.inputs) do
      local t = support.tensor(item)
      inputs[name] = (strided and support.noncontiguous(t) or t):requires_grad_()
   end
   return net, inputs
end

local function check(case, strided)
   local net, inputs = build(case, strided)
   local begin = inputs.h
   if case.kind == "LSTM" and begin then
      begin = { inputs.h, inputs.c }
   end
   local y, last = net(inputs.x, begin, case.lengths and { lengths = case.lengths })
   local outputs = { y = y, h = last }
   if case.kind == "LSTM" then
      outputs.h, outputs.c = last[1], last[2]
   end
   local total
   for name, want in pairs(case.outputs) do
      support.close(outputs[name], support.tensor(want), 1e-5, 1e-5)
      local part = (outputs[name] * support.tensor(case.weights[name])):sum()
      total = total and total + part or part
   end
   total:backward()
   for name, want in pairs(case.grads) do
      local own = name:match("^first_(.)$")
      local t = name == "x" and inputs.x or own and inputs[own] or net[name]
      support.close(t.grad, support.tensor(want), 5e-5, 5e-5)
   end
end

describe("PyTorch's", function()
   for _, case in ipairs(support.golden("recurrent").cases) do
      it(case.name, function()
         support.each_isa(function()
            check(case, false)
            check(case, true)
         end)
      end)
   end
end)

describe("finite differences of", function()
   for _, kind in ipairs{ "rnn_tanh", "lstm", "gru" } do
      for _, reverse in ipairs{ false, true } do
         it(("%s, %s, with lengths"):format(kind, reverse and "backwards" or "forwards"), function()
            local gates = ({ rnn_tanh = 1, lstm = 4, gru = 3 })[kind]
            siamese.manual_seed(8)
            local cells = kind == "lstm" and siamese.randn(3, 5)
            local inputs = { siamese.randn(3, 4, 2), siamese.randn(5 * gates, 2),
               siamese.randn(5 * gates, 5) / 2, siamese.randn(5 * gates), siamese.randn(5 * gates),
               siamese.randn(3, 5), cells or nil }
            support.gradcheck(function(x, w_ih, w_hh, b_ih, b_hh, h0, c0)
               return F.recurrent(kind, x, w_ih, w_hh, b_ih, b_hh, { h0 = h0, c0 = c0, lengths = { 2, 4, 1 },
                  reverse = reverse, batch_first = true })
            end, inputs, { eps = 1e-2, rtol = 3e-2, atol = 4e-3 })
         end)
      end
   end
end)

describe("recurrent layers", function()
   it("name their parameters as PyTorch does, in its order", function()
      local names, shapes = {}, {}
      for name, t in nn.GRU{ input_size = 2, hidden_size = 3, num_layers = 2, bidirectional = true }
         :named_parameters() do
         names[#names + 1], shapes[name] = name, table.concat(t.shape, ",")
      end
      assert.same({ "weight_ih_l0", "weight_hh_l0", "bias_ih_l0", "bias_hh_l0", "weight_ih_l0_reverse",
         "weight_hh_l0_reverse", "bias_ih_l0_reverse", "bias_hh_l0_reverse", "weight_ih_l1", "weight_hh_l1",
         "bias_ih_l1", "bias_hh_l1", "weight_ih_l1_reverse", "weight_hh_l1_reverse", "bias_ih_l1_reverse",
         "bias_hh_l1_reverse" }, names)
      assert.equal("9,2", shapes.weight_ih_l0)
      assert.equal("9,6", shapes.weight_ih_l1)
      assert.equal("9,3", shapes.weight_hh_l1_reverse)
      assert.equal("9", shapes.bias_hh_l0)
      assert.equal(2, #nn.RNN{ input_size = 2, hidden_size = 3, bias = false }:parameters())
   end)

   it("begin within 1 / sqrt(hidden_size)", function()
      siamese.manual_seed(3)
      for _, t in ipairs(nn.LSTM{ input_size = 20, hidden_size = 25 }:parameters()) do
         local most = t:detach():abs():max():item()
         assert.is_true(most <= 0.2 and most > 0.18)
      end
   end)

   it("give states by step, and the last of each layer and direction", function()
      local x = tensor_of(5, 3, 2)
      local y, h = nn.GRU{ input_size = 2, hidden_size = 4, num_layers = 2, bidirectional = true }(x)
      assert.same({ 5, 3, 8 }, y.shape)
      assert.same({ 4, 3, 4 }, h.shape)
      support.close(h[3], y[5]:narrow(2, 1, 4))
      support.close(h[4], y[1]:narrow(2, 5, 4))
      local states, last = nn.LSTM{ input_size = 2, hidden_size = 4 }(x)
      assert.same({ 1, 3, 4 }, last[2].shape)
      support.close(last[1][1], states[5])
   end)

   it("are the same by batch first", function()
      local x = tensor_of(5, 3, 2)
      siamese.manual_seed(1)
      local by_time = nn.LSTM{ input_size = 2, hidden_size = 4, num_layers = 2, bidirectional = true }
      siamese.manual_seed(1)
      local by_batch = nn.LSTM{ input_size = 2, hidden_size = 4, num_layers = 2, bidirectional = true,
         batch_first = true }
      local y, last = by_time(x)
      local z, also = by_batch(x:transpose(1, 2))
      support.close(z:transpose(1, 2), y)
      support.close(also[2], last[2])
   end)

   it("go on from a state", function()
      for _, kind in ipairs{ "RNN", "GRU", "LSTM" } do
         local net, x = nn[kind]{ input_size = 2, hidden_size = 4, num_layers = 2 }, tensor_of(6, 3, 2)
         local whole = net(x)
         local first, state = net(x:narrow(1, 1, 4))
         local second = net(x:narrow(1, 5, 2), state)
         support.close(siamese.cat({ first, second }, 1), whole)
      end
   end)

   it("take one sequence alone", function()
      local net, x = nn.LSTM{ input_size = 2, hidden_size = 4, bidirectional = true }, tensor_of(6, 2)
      local y, state = net(x)
      local z, also = net(x:unsqueeze(2))
      support.close(y, z:squeeze(2))
      support.close(state[2], also[2]:squeeze(2))
      assert.same({ 6, 8 }, net(x, state).shape)
   end)

   it("treat each sequence as if it were alone, by its length", function()
      local lengths = { 3, 6, 1, 5 }
      for _, kind in ipairs{ "RNN", "GRU", "LSTM" } do
         local net = nn[kind]{ input_size = 2, hidden_size = 4, num_layers = 2, bidirectional = true }
         local x = tensor_of(6, 4, 2)
         for i, length in ipairs(lengths) do
            if length < 6 then
               x:select(2, i):narrow(1, length + 1, 6 - length):fill_(0 / 0)
            end
         end
         local y, state = net(x, nil, { lengths = lengths })
         local h = kind == "LSTM" and state[1] or state
         for i, length in ipairs(lengths) do
            local alone, own = net(x:narrow(2, i, 1):narrow(1, 1, length))
            support.close(y:narrow(2, i, 1):narrow(1, 1, length), alone)
            support.close(h:select(2, i), (kind == "LSTM" and own[1] or own):squeeze(2))
            if length < 6 then
               assert.equal(0, y:select(2, i):narrow(1, length + 1, 6 - length):abs():max():item())
            end
         end
         y:sum():backward()
         for name, t in net:named_parameters() do
            assert.is_true(t.grad:isfinite():all(), name)
         end
      end
   end)

   it("drop between layers, in training only", function()
      local x = tensor_of(5, 3, 2)
      local net = nn.GRU{ input_size = 2, hidden_size = 40, num_layers = 2, dropout = 0.5 }
      assert.is_false(net(x) == net(x))
      assert.is_true(net:eval()(x) == net(x))
      local one = nn.GRU{ input_size = 2, hidden_size = 4, dropout = 0.5 }
      assert.is_true(one(x) == one(x))
   end)

   it("print themselves with what is not the default", function()
      assert.equal("LSTM(2, 3)", tostring(nn.LSTM{ input_size = 2, hidden_size = 3 }))
      assert.equal("RNN(2, 3, num_layers=2, nonlinearity=relu, bias=false, batch_first=true, dropout=0.1, "
         .. "bidirectional=true)", tostring(nn.RNN{ input_size = 2, hidden_size = 3, num_layers = 2,
            nonlinearity = "relu", bias = false, batch_first = true, dropout = 0.1, bidirectional = true }))
   end)

   it("learn: which of two signs came first, over 8 steps", function()
      for _, kind in ipairs{ "GRU", "LSTM" } do
         siamese.manual_seed(4)
         local net = nn[kind]{ input_size = 1, hidden_size = 12 }
         local head = nn.Linear{ in_features = 12, out_features = 1 }
         local parameters = net:parameters()
         table.move(head:parameters(), 1, 2, #parameters + 1, parameters)
         local optimiser, loss = siamese.optim.Adam(parameters, { lr = 0.05 }), nil
         for _ = 1, 150 do
            local first = siamese.randint(0, 1, { 32 })
            local x = siamese.zeros(8, 32, 1)
            x[1] = (first * 2 - 1):float():unsqueeze(2)
            local y = net(x)
            loss = F.binary_cross_entropy_with_logits(head(y[8]):squeeze(2), first)
            optimiser:zero_grad()
            loss:backward()
            optimiser:step()
         end
         assert.is_true(loss:item() < 0.1, ("%s: %g"):format(kind, loss:item()))
      end
   end)

   it("give the same bits for a sequence on any number of #threads", function()
      local threads, first = siamese.get_threads(), nil
      for _, n in ipairs{ 1, 2, 3 } do
         siamese.set_threads(n)
         local w_ih, w_hh = tensor_of(4 * 20, 8), siamese.randn(4 * 20, 20) / 4
         local x, h0 = siamese.randn(30, 11, 8):requires_grad_(), siamese.randn(11, 20):requires_grad_()
         local y, h = F.recurrent("lstm", x, w_ih, w_hh, nil, nil, { h0 = h0 });
         (y:sum() + h:sum()):backward()
         support.close(first or h0.grad, h0.grad, 1e-5, 1e-6)
         assert.is_true(first == nil or first == h0.grad)
         first = h0.grad
      end
      siamese.set_threads(threads)
   end)
end)

describe("recurrent layers refuse", function()
   local gru = nn.GRU{ input_size = 2, hidden_size = 3, num_layers = 2 }
   local lstm = nn.LSTM{ input_size = 2, hidden_size = 3, batch_first = true }
   local x = tensor_of(5, 4, 2)

   it("inputs and states that do not fit", function()
      support.fails("nn.GRU: input must be [T,N,I] or [T,I] with I = 2, got [5,4,3]", gru,
         siamese.zeros(5, 4, 3))
      support.fails("nn.LSTM: input must be [N,T,I] or [T,I] with I = 2, got [5]", lstm, siamese.zeros(5))
      support.fails("nn.GRU: expected a tensor, got nil", gru)
      support.fails("nn.GRU: h0 must be [2,4,3], got [4,3]", gru, x, siamese.zeros(4, 3))
      support.fails("nn.GRU: h0 must be [2,3], got [1,3]", gru, x[1], siamese.zeros(1, 3))
      support.fails("nn.GRU: h0 must be a tensor, got table", gru, x, { siamese.zeros(2, 4, 3) })
      support.fails("nn.LSTM: the state must be a table {h0, c0}, got userdata", lstm, x,
         siamese.zeros(1, 5, 3))
      support.fails("nn.LSTM: c0 must be [1,5,3], got [1,5,4]", lstm, x,
         { siamese.zeros(1, 5, 3), siamese.zeros(1, 5, 4) })
      support.fails("gru: the sequences of input [0,4,2] are empty", gru, siamese.zeros(0, 4, 2))
   end)

   it("lengths that are none", function()
      support.fails("gru: length 6 of sequence 2 is out of range 1..5", gru, x, nil,
         { lengths = { 1, 6, 2, 2 } })
      support.fails("gru: length 0 of sequence 1 is out of range 1..5", gru, x, nil,
         { lengths = { 0, 1, 2, 2 } })
      support.fails("gru: lengths must be int64 [4], got int64 [2]", gru, x, nil, { lengths = { 1, 2 } })
      support.fails("expected whole numbers (int64), got 1.5", gru, x, nil,
         { lengths = siamese.tensor{ 1.5, 1, 1, 1 } })
      support.fails("nn.GRU: unknown option 'length' (did you mean 'lengths'?)", gru, x, nil,
         { length = { 1 } })
   end)

   it("options that make no sense", function()
      support.fails("nn.GRU: option 'hidden_size' is required", nn.GRU, { input_size = 2 })
      support.fails("nn.GRU: num_layers must be an integer of at least 1, got 0", nn.GRU,
         { input_size = 2, hidden_size = 3, num_layers = 0 })
      support.fails("nn.RNN: nonlinearity must be 'tanh' or 'relu', got 'sigmoid'", nn.RNN,
         { input_size = 2, hidden_size = 3, nonlinearity = "sigmoid" })
      support.fails("nn.LSTM: unknown option 'nonlinearity'", nn.LSTM,
         { input_size = 2, hidden_size = 3, nonlinearity = "relu" })
      support.fails("nn.LSTM: dropout must be a number from 0 to 1, got 2", nn.LSTM,
         { input_size = 2, hidden_size = 3, dropout = 2 })
      local _, message = pcall(function()
         local net = nn.GRU{ input_size = 0, hidden_size = 3 }
         return net
      end)
      assert.matches("recurrent_spec.lua:%d+: nn.GRU: input_size", message)
   end)

   it("operands of the function that do not fit", function()
      local w_ih, w_hh = siamese.zeros(12, 2), siamese.zeros(12, 3)
      support.fails("invalid option 'elman'", F.recurrent, "elman", x, w_ih, w_hh)
      support.fails("lstm: weight_hh must be float32 [4 H,H], got float32 [9,3]", F.recurrent, "lstm", x,
         w_ih, siamese.zeros(9, 3))
      support.fails("lstm: weight_ih must be float32 [12,2], got float32 [12,3]", F.recurrent, "lstm", x,
         w_hh, w_hh)
      support.fails("lstm: bias_ih must be float32 [12], got float32 [3]", F.recurrent, "lstm", x, w_ih, w_hh,
         siamese.zeros(3))
      support.fails("gru: has no cells: c0 must be nil", F.recurrent, "gru", x, siamese.zeros(9, 2),
         siamese.zeros(9, 3), nil, nil, { c0 = siamese.zeros(4, 3) })
      support.fails("recurrent: h0 must be a tensor, got 3", F.recurrent, "lstm", x, w_ih, w_hh, nil, nil,
         { h0 = 3 })
      support.fails("lstm: input must be float32 [T,N,I], got float32 [2,2]", F.recurrent, "lstm",
         siamese.zeros(2, 2), w_ih, w_hh)
   end)
end)
