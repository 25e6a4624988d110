--- Recurrent networks over whole sequences.
--
-- As in PyTorch: sequences are [T,N,I] (T steps, N sequences, I features), or [N,T,I] with `batch_first`; one
-- sequence may come as [T,I]. Parameters are weight_ih_l0, weight_hh_l0, bias_ih_l0, bias_hh_l0, then those
-- ending in _l0_reverse with `bidirectional`, then those of the next layer; gates lie in the order i, f, g, o
-- (LSTM) and r, z, n (GRU). All begin uniform within 1 / sqrt(hidden_size).
--
--    local gru = nn.GRU{ input_size = 3, hidden_size = 64, num_layers = 2, bidirectional = true }
--    local y, h = gru(x)                                  -- y [T,N,128], h [4,N,64]
--    local y, h = gru(x, h)                               -- goes on from h
--    local y, h = gru(x, nil, { lengths = { 9, 4, 7 } })  -- sequences of their own lengths
--    local y, state = lstm(x)                             -- state is {h, c}; so is what lstm takes
--
-- With lengths, what lies beyond a sequence's end is not looked at; outputs there are zero, the last states
-- are those at each sequence's own end, and the reverse direction begins there: what PyTorch does with packed
-- sequences. Sequences sorted from the longest to the shortest cost least.
-- @module siamese.nn.recurrent
local core = require "siamese.core"
local Module = require "siamese.nn.module"
local init = require "siamese.nn.initialise"
local options = require "siamese.options"
local parts = require "siamese.nn.parts"

local F = core.F
local M = {}

local function shape_text(t)
   return "[" .. table.concat(t.shape, ",") .. "]"
end

local MOST_LAYERS = 1000 -- of a file that lies, all would be made before its weights are missed

local function check_options(name, o)
   options.check_count(name, o, "input_size", 1)
   options.check_count(name, o, "hidden_size", 1)
   options.check_count(name, o, "num_layers", 1)
   if o.num_layers > MOST_LAYERS then
      core.raise(("%s: num_layers must be at most %d, got %d"):format(name, MOST_LAYERS, o.num_layers))
   end
   options.check_number(name, o, "dropout", 0, 1)
   for _, key in ipairs{ "bias", "batch_first", "bidirectional" } do
      options.check_boolean(name, o, key)
   end
   if o.nonlinearity ~= nil then
      options.check_choice(name, o, "nonlinearity", { "tanh", "relu" })
   end
end

--- The endings of parameters' names, in order: "_l0", "_l0_reverse", "_l1", ...
local function endings(o)
   local list = {}
   for layer = 0, o.num_layers - 1 do
      list[#list + 1] = { ("_l%d"):format(layer), layer, false }
      if o.bidirectional then
         list[#list + 1] = { ("_l%d_reverse"):format(layer), layer, true }
      end
   end
   return list
end

local function add_parameters(self, o, gates)
   local rows, directions = gates * o.hidden_size, o.bidirectional and 2 or 1
   local bound = 1 / math.sqrt(o.hidden_size)
   for _, item in ipairs(self.runs) do
      local width = item[2] == 0 and o.input_size or o.hidden_size * directions
      local shapes = { { "weight_ih", { rows, width } }, { "weight_hh", { rows, o.hidden_size } } }
      if o.bias then
         shapes[3], shapes[4] = { "bias_ih", { rows } }, { "bias_hh", { rows } }
      end
      for _, shape in ipairs(shapes) do
         self[shape[1] .. item[1]] = init.uniform_(parts.parameter(shape[2]), -bound, bound)
      end
   end
end

--- A state that was given, as [runs,N,H]; nil stays nil.
local function check_state(self, name, state, n, single)
   local o = self.options
   if state == nil then
      return nil
   elseif not core.is_tensor(state) then
      core.raise(("nn.%s: %s must be a tensor, got %s"):format(self.__name, name, type(state)))
   end
   local given = single and state.ndim == 2 and state:unsqueeze(2) or state
   local wanted = { #self.runs, n, o.hidden_size }
   if table.concat(given.shape, ",") ~= table.concat(wanted, ",") then
      if single then
         table.remove(wanted, 2)
      end
      core.raise(("nn.%s: %s must be [%s], got %s"):format(self.__name, name, table.concat(wanted, ","),
         shape_text(state)))
   end
   return given
end

--- h0 and c0 from what the caller gave as `state`.
local function states_of(self, state, n, single)
   local h, c = state, nil
   if self.kind == "lstm" and state ~= nil then
      if type(state) ~= "table" then
         core.raise("nn.LSTM: the state must be a table {h0, c0}, got " .. type(state))
      end
      h, c = state[1], state[2]
   end
   return check_state(self, "h0", h, n, single), check_state(self, "c0", c, n, single)
end

--- x as three dimensions, the number of sequences, and whether it came as one.
local function check_input(self, x)
   local o = self.options
   if not core.is_tensor(x) then
      core.raise(("nn.%s: expected a tensor, got %s"):format(self.__name, type(x)))
   end
   local single = x.ndim == 2
   if (x.ndim ~= 3 and not single) or x.shape[x.ndim] ~= o.input_size then
      core.raise(("nn.%s: input must be %s or [T,I] with I = %d, got %s"):format(self.__name,
         o.batch_first and "[N,T,I]" or "[T,N,I]", o.input_size, shape_text(x)))
   elseif single then
      x = x:unsqueeze(o.batch_first and 1 or 2)
   end
   return x, x.shape[o.batch_first and 1 or 2], single
end

--- One layer, in one direction or both: the states, appended to the lists of last ones.
local function run_layer(self, x, first, h0, c0, call, h, c)
   local directions = self.options.bidirectional and 2 or 1
   local outputs = {}
   for k = first, first + directions - 1 do
      local ending = self.runs[k][1]
      call.reverse = self.runs[k][3]
      call.h0, call.c0 = h0 and h0:select(1, k), c0 and c0:select(1, k)
      outputs[#outputs + 1], h[k], c[k] = F.recurrent(self.kind, x, self["weight_ih" .. ending],
         self["weight_hh" .. ending], self["bias_ih" .. ending], self["bias_hh" .. ending], call)
   end
   return directions == 1 and outputs[1] or core.cat(outputs, 3)
end

local function forward(self, x, state, opts)
   local o = self.options
   local lengths = opts ~= nil and options.check("nn." .. self.__name, opts,
      { lengths = options.optional }).lengths or nil
   local input, n, single = check_input(self, x)
   local h0, c0 = states_of(self, state, n, single)
   local call, h, c = { batch_first = o.batch_first, lengths = lengths }, {}, {}
   local directions = o.bidirectional and 2 or 1
   for layer = 0, o.num_layers - 1 do
      if layer > 0 and o.dropout > 0 then
         input = F.dropout(input, o.dropout, self.training)
      end
      input = run_layer(self, input, layer * directions + 1, h0, c0, call, h, c)
   end
   local last, cells = core.stack(h, 1), self.kind == "lstm" and core.stack(c, 1) or nil
   if single then
      input, last = input:squeeze(o.batch_first and 1 or 2), last:squeeze(2)
      cells = cells and cells:squeeze(2)
   end
   return input, cells and { last, cells } or last
end

local function recurrent(name, gates, kind_of, spec)
   local class = Module:extend(name)

   function class:init(opts)
      local o = options.check("nn." .. name, opts, options.extend({ input_size = options.required,
         hidden_size = options.required, num_layers = 1, bias = true, batch_first = false, dropout = 0,
         bidirectional = false }, spec))
      check_options("nn." .. name, o)
      self.options = o
      self.kind = kind_of(o)
      self.runs = endings(o)
      add_parameters(self, o, gates)
   end

   class.forward = forward

   function class:extra_repr()
      local text = ("%d, %d"):format(self.options.input_size, self.options.hidden_size)
      for _, item in ipairs{ { "num_layers", 1 }, { "nonlinearity", "tanh" }, { "bias", true },
         { "batch_first", false }, { "dropout", 0 }, { "bidirectional", false } } do
         local value = self.options[item[1]]
         if value ~= nil and value ~= item[2] then
            text = ("%s, %s=%s"):format(text, item[1], value)
         end
      end
      return text
   end
   return class
end

--- Elman's recurrent network: h = tanh(W_ih x + b_ih + W_hh h + b_hh).
-- @function RNN
-- @tparam table opts `input_size`, `hidden_size` (required), `num_layers` (1), `nonlinearity` ("tanh" or
--   "relu"), `bias` (true), `batch_first` (false), `dropout` (0; between layers, in training),
--   `bidirectional` (false)
-- @usage local y, h = nn.RNN{ input_size = 3, hidden_size = 32 }(x, h0, { lengths = lengths })
M.RNN = recurrent("RNN", 1, function(o)
   return "rnn_" .. o.nonlinearity
end, { nonlinearity = "tanh" })

--- Long short-term memory (Hochreiter and Schmidhuber 1997; with the forget gates of Gers et al. 2000).
-- Takes and gives its state as {h, c}.
-- @function LSTM
-- @tparam table opts `input_size`, `hidden_size` (required), `num_layers` (1), `bias` (true), `batch_first`
--   (false), `dropout` (0; between layers, in training), `bidirectional` (false)
-- @usage local y, state = nn.LSTM{ input_size = 3, hidden_size = 32 }(x); local h, c = state[1], state[2]
M.LSTM = recurrent("LSTM", 4, function() return "lstm" end, {})

--- Gated recurrent units (Cho et al. 2014), with the reset gate behind the product as in PyTorch. Options as
-- LSTM's.
-- @function GRU
-- @usage local y, h = nn.GRU{ input_size = 3, hidden_size = 32 }(x)
M.GRU = recurrent("GRU", 3, function() return "gru" end, {})

return M
