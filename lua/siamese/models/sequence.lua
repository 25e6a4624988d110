--- Recurrent encoders: a siamese network need not see pictures. Strokes of a pen, gestures, words as vectors.
--
--    local net = models.sequence_encoder{ in_features = 3, hidden_size = 64, bidirectional = true }
--    local twin = siamese.Twin{ encoder = net, distance = "l1" }
--    local a = models.pad_sequences{ stroke1, stroke2 }      -- [T1,3] and [T2,3] to [2,T,3]
--    local d = twin(a, models.pad_sequences({ stroke3, stroke4 }, { steps = a:size(2) }))
--
-- With `distance = "l1"` and an LSTM, `twin:similarity` is the Manhattan LSTM's, exp(-|h_a - h_b|_1)
-- (Mueller and Thyagarajan 2016, section 3.2).
-- @module siamese.models.sequence
local core = require "siamese.core"
local nn = require "siamese.nn"
local options = require "siamese.options"
local parts = require "siamese.models.parts"

local M = {}

local CELLS = { rnn = nn.RNN, lstm = nn.LSTM, gru = nn.GRU }

local FAMILY = { spec = { in_features = options.required, hidden_size = 64, num_layers = 1, cell = "lstm",
   bidirectional = false, dropout = 0.0, pool = "last", forget_bias = options.optional,
   embedding = options.optional, num_classes = options.optional }, heads = { "fc%." } }

function FAMILY.check(name, o)
   for _, key in ipairs{ "in_features", "hidden_size", "num_layers" } do
      options.check_count(name, o, key, 1)
   end
   options.check_boolean(name, o, "bidirectional")
   options.check_choice(name, o, "cell", { "lstm", "gru", "rnn" })
   options.check_choice(name, o, "pool", { "last", "mean", "max" })
   if o.forget_bias ~= nil then
      options.check_number(name, o, "forget_bias", -math.huge, math.huge)
      if o.cell ~= "lstm" then
         core.raise(name .. ": forget_bias is an LSTM's, cell is '" .. o.cell .. "'")
      end
   end
end

--- The class behind `models.sequence_encoder`, for subclasses: the stages are `rnn` and `fc`.
-- @function SequenceEncoder
-- @tparam table opts those of `models.sequence_encoder`
M.SequenceEncoder = nn.Module:extend("SequenceEncoder")

--- Gates lie in the order i, f, g, o; the two biases add up.
local function set_forget_bias(rnn, hidden, value)
   for name, tensor in rnn:named_parameters() do
      if name:find("^bias") then
         local forget = tensor:detach():narrow(1, hidden + 1, hidden)
         nn.init.constant_(forget, name:find("^bias_ih") and value or 0)
      end
   end
end

function M.SequenceEncoder:init(opts, name)
   name = name or "models.SequenceEncoder"
   local o = parts.check(name, opts, FAMILY)
   self.model, self.in_features, self.pool, self.cell = name, o.in_features, o.pool, o.cell
   self.directions = o.bidirectional and 2 or 1
   self.rnn = CELLS[o.cell]{ input_size = o.in_features, hidden_size = o.hidden_size,
      num_layers = o.num_layers, bidirectional = o.bidirectional, dropout = o.dropout, batch_first = true }
   if o.forget_bias then
      set_forget_bias(self.rnn, o.hidden_size, o.forget_bias)
   end
   local features = o.hidden_size * self.directions
   self.fc = parts.head(o, features)
   self.out_features = o.num_classes or o.embedding or features
end

function M.SequenceEncoder:extra_repr()
   return "pool=" .. self.pool
end

local function check_input(self, x)
   if not core.is_tensor(x) then
      core.raise(("%s: expected a tensor, got %s"):format(self.model, type(x)))
   elseif x:dim() ~= 3 or x:size(3) ~= self.in_features or x:size(2) < 1 then
      core.raise(("%s: the input must be [N,T,%d], got [%s]"):format(self.model, self.in_features,
         table.concat(x.shape, ",")))
   end
end

--- Lengths [N] by where steps of NaN begin, nil where all are whole. The first feature of a step tells. What
-- only follows the forward (a summary, an export) has whole ones.
local function find_lengths(self, x)
   if nn.Module.is_traced() then
      return nil
   end
   local absent = x:detach():select(3, 1):isnan()
   local count, steps = absent:sum(2), x:size(2)
   if x:size(1) == 0 or count:max():item() == 0 then
      return nil
   end
   local again = absent:narrow(2, 1, steps - 1):gt(absent:narrow(2, 2, steps - 1))
   if again:sum():item() > 0 then
      core.raise(self.model .. ": a sequence goes on behind a step that is NaN")
   elseif count:max():item() == steps then
      core.raise(("%s: sequence %d has no steps"):format(self.model, count:argmax():item()))
   end
   return steps - count
end

--- Each sequence's last state: of the last layer, in both directions.
local function last_state(self, state)
   local h = self.cell == "lstm" and state[1] or state
   local layers = h:size(1)
   if self.directions == 1 then
      return h:select(1, layers)
   end
   return core.cat({ h:select(1, layers - 1), h:select(1, layers) }, 2)
end

--- The mean or the largest value of states y [N,T,D] over the steps of each sequence.
local function pooled(self, y, lengths)
   local steps = y:size(2)
   if not lengths then
      return self.pool == "mean" and y:mean(2) or (y:amax(2))
   elseif self.pool == "mean" then -- states beyond the end are zeros
      return y:sum(2) / lengths:float():unsqueeze(2)
   end
   local step = core.arange(1, steps + 1, { dtype = "int64" }):unsqueeze(1)
   return (y:masked_fill(step:gt(lengths:unsqueeze(2)):unsqueeze(3), -math.huge):amax(2))
end

--- x [N,T,in_features] to [N,out_features].
-- @tparam tensor x steps of NaN at the end of a sequence are no part of it
-- @tparam[opt] table opts `lengths`: of each sequence, from 1 to T, instead
function M.SequenceEncoder:forward(x, opts)
   check_input(self, x)
   local lengths = options.check(self.model, opts, { lengths = options.optional }).lengths
   if lengths == nil then
      lengths = find_lengths(self, x)
   elseif not core.is_tensor(lengths) then
      lengths = core.tensor(lengths, { dtype = "int64" })
   end
   local y, state = self.rnn(x, nil, lengths and { lengths = lengths } or nil)
   local features = self.pool == "last" and last_state(self, state) or pooled(self, y, lengths)
   return self.fc and self.fc(features) or features
end

--- A recurrent encoder of sequences.
-- @function sequence_encoder
-- @tparam table opts `in_features` (required), the values of a step; `cell` ("lstm", "gru" or "rnn"),
--   `hidden_size` (64), `num_layers` (1), `bidirectional` (false), `dropout` (0, between layers); `pool`:
--   "last" takes the last state of each direction, "mean" and "max" those over all steps; `forget_bias` of an
--   LSTM (Mueller and Thyagarajan begin with 2.5); `embedding`, the size of a linear layer behind it, or
--   `num_classes`, neither by default; `weights`, a file (see `siamese.models`)
-- @treturn SequenceEncoder [N,T,in_features] to [N,D]: net(x), where steps of NaN at the end of a sequence
--   are none (see `pad_sequences`), or net(x, { lengths = { 9, 4 } })
-- @usage local net = models.sequence_encoder{ in_features = 3, cell = "gru", pool = "mean" }
M.sequence_encoder = parts.builder("sequence_encoder", FAMILY, function(o, name)
   return M.SequenceEncoder(o, name)
end)

local function check_sequences(name, list)
   if type(list) ~= "table" or #list == 0 then
      core.raise(name .. ": expected a list of tensors")
   end
   for i, t in ipairs(list) do
      if not core.is_tensor(t) then
         core.raise(("%s: sequence %d is a %s, expected a tensor"):format(name, i, type(t)))
      elseif t:dim() ~= 2 or t:size(1) < 1 or t:size(2) ~= list[1]:size(2) then
         core.raise(("%s: sequence %d must be [T,%s], got [%s]"):format(name, i,
            i > 1 and tostring(list[1]:size(2)) or "I", table.concat(t.shape, ",")))
      end
   end
end

--- Sequences of unequal lengths as one tensor, with steps of NaN behind their ends.
-- @tparam {tensor,...} list each [T,I]
-- @tparam[opt] table opts `steps`: T of the result, by default the longest's
-- @treturn tensor [N,T,I]
-- @treturn tensor lengths [N], int64
function M.pad_sequences(list, opts)
   local name = "models.pad_sequences"
   local o = options.check(name, opts, { steps = options.optional })
   check_sequences(name, list)
   local lengths, longest = {}, 1
   for i, t in ipairs(list) do
      lengths[i] = t:size(1)
      longest = math.max(longest, lengths[i])
   end
   if o.steps ~= nil then
      options.check_count(name, o, "steps", longest)
   end
   local rows, width = {}, list[1]:size(2)
   for i, t in ipairs(list) do
      local missing = (o.steps or longest) - lengths[i]
      rows[i] = missing == 0 and t:float()
         or core.cat({ t:float(), core.full({ missing, width }, 0 / 0) }, 1)
   end
   return core.stack(rows, 1), core.tensor(lengths, { dtype = "int64" })
end

return M
