--- The twin: one encoder, two inputs, a distance.
--
--    local twin = siamese.Twin{ encoder = net, distance = "l2" }
--    local d = twin(a, b)                 -- distances [N]; with a head, logits [N]
--    twin:similarity(a, b)                -- [N], from 0 to 1
--    local who = twin:identify(query, support)
--
-- The encoder exists once; both sides go through it in one pass over the joined batch of 2N, which is
-- the same arithmetic and twice as fast to start (in training, batch norm sees both sides together).
--
-- A twin with a preprocessing record (its own, or its encoder's; see siamese.Preprocess) takes pictures as
-- they are: whatever is float32 is the encoder's input and goes in as it is; names of files, uint8 pictures
-- ([C,H,W] or [N,C,H,W]) and lists of these are preprocessed. Where a file cannot be read, nil and a message
-- come back.
-- @module siamese.twin
local core = require "siamese.core"
local Module = require "siamese.nn.module"
local Preprocess = require "siamese.preprocess"
local calibration = require "siamese.calibration"
local distances = require "siamese.distances"
local layers = require "siamese.nn.layers"
local options = require "siamese.options"
local record = require "siamese.record"

local F = core.F
local M = {}

--- Koch, Zemel, Salakhutdinov 2015, section 3.1: the logit of p = sigmoid(sum_j alpha_j |a_j - b_j|).
-- @function WeightedL1
-- @tparam table opts `features` (size of the embeddings), `bias` (true)
-- @usage nn.WeightedL1{ features = 4096 }
M.WeightedL1 = Module:extend("WeightedL1")

function M.WeightedL1:init(opts)
   local o = options.check("nn.WeightedL1", opts, { features = options.required, bias = true })
   self.options = o
   self.linear = layers.Linear{ in_features = o.features, out_features = 1, bias = o.bias }
end

record.register_class("nn.WeightedL1", M.WeightedL1, function(head)
   return head.options
end)

--- a, b [N,D]: logits [N].
function M.WeightedL1:forward(a, b)
   return self.linear((a - b):abs()):squeeze(2)
end

local DISTANCES = {
   l1 = function(a, b)
      return F.pairwise_distance(a, b, { p = 1, eps = 0 })
   end,
   l2 = function(a, b)
      return F.pairwise_distance(a, b)
   end,
   cosine = function(a, b)
      return 1 - F.cosine_similarity(a, b)
   end,
}

local Twin = Module:extend("Twin")
M.Twin = Twin

--- Makes a twin.
-- @tparam table opts `encoder` (a module, from [N,...] to [N,D]), `distance` ("l2", "l1", "cosine", one of
--   siamese.distances, whose parameters are then the twin's, or a function of two [N,D] that gives [N];
--   default "l2"), `head` (a module of two [N,D] that gives
--   logits [N], such as nn.WeightedL1), `preprocess` (a siamese.Preprocess or a table of its options;
--   default the encoder's, if it has one)
function Twin:init(opts)
   local o = options.check("Twin", opts, { encoder = options.required, distance = "l2",
      head = options.optional, preprocess = options.optional })
   for _, key in ipairs{ "encoder", "head" } do
      if o[key] ~= nil and not Module.is_module(o[key]) then
         core.raise(("Twin: %s must be a module, got %s"):format(key, type(o[key])))
      end
   end
   local module = distances.is_distance(o.distance)
   if type(o.distance) ~= "function" and not module and not DISTANCES[o.distance] then
      core.raise(("Twin: distance must be 'l1', 'l2', 'cosine', one of siamese.distances or a function, "
         .. "got '%s'"):format(tostring(o.distance)))
   end
   self.encoder = o.encoder
   self.head = o.head
   self.distance_name = type(o.distance) == "string" and o.distance or module and "module" or "function"
   self.measure = DISTANCES[o.distance] or o.distance
   self.preprocess = o.preprocess and Preprocess.from(o.preprocess)
end

function Twin:extra_repr()
   return "distance=" .. self.distance_name
end

local function shape_text(t)
   return "[" .. table.concat(t.shape, ",") .. "]"
end

--- What goes into the encoder for what a caller hands in; nil and a message for a file that cannot be read.
local function input(self, name, x)
   local tensor = core.is_tensor(x)
   if tensor and x.dtype ~= "uint8" then
      return x
   end
   local preprocess = Preprocess.of(self)
   if preprocess then
      local made, why = preprocess(x)
      return made, why
   elseif not tensor then
      core.raise(("Twin:%s: expected a tensor, got %s%s"):format(name, type(x), type(x) == "string"
         and "; files are read by a twin that has a preprocess record" or ""))
   end
   return x
end

local function check_sides(name, a, b)
   if shape_text(a) ~= shape_text(b) then
      core.raise(("Twin:%s: the two sides must have one shape, got %s and %s"):format(name,
         shape_text(a), shape_text(b)))
   end
end

--- Embeds one side: x [N,...] (or pictures, see above) to [N,D].
function Twin:embed(x)
   local ready, why = input(self, "embed", x)
   if not ready then
      return nil, why
   end
   return self.encoder(ready)
end

--- Embeds both sides in one pass.
-- @treturn[1] tensor [N,D] of a
-- @treturn[1] tensor [N,D] of b
-- @treturn[2] nil
-- @treturn[2] string message about a file that cannot be read
function Twin:embed_pair(a, b)
   local why
   a, why = input(self, "embed_pair", a)
   if a then
      b, why = input(self, "embed_pair", b)
   end
   if not a or not b then
      return nil, why
   end
   check_sides("embed_pair", a, b)
   local n = a:size(1)
   local both = self.encoder(core.cat({ a, b }, 1))
   return both:narrow(1, 1, n), both:narrow(1, n + 1, n)
end

local function measured(self, ea, eb)
   if not ea then
      return nil, eb
   end
   local d = self.measure(ea, eb)
   if not core.is_tensor(d) or d:dim() ~= 1 or d:size(1) ~= ea:size(1) then
      core.raise(("Twin: the distance must give [%d], got %s"):format(ea:size(1),
         core.is_tensor(d) and shape_text(d) or type(d)))
   end
   return d
end

--- Distances [N] of pairs.
function Twin:distance(a, b)
   return measured(self, self:embed_pair(a, b))
end

--- What the loss takes: logits [N] with a head, else distances [N].
function Twin:forward(a, b)
   local ea, eb = self:embed_pair(a, b)
   if self.head and ea then
      return self.head(ea, eb)
   end
   return measured(self, ea, eb)
end

--- From embeddings: a head's probability; (1 + cosine) / 2; else exp(-distance).
local function similarity(self, ea, eb)
   if not ea then
      return nil, eb
   elseif self.head then
      return self.head(ea, eb):sigmoid()
   elseif self.distance_name == "cosine" then
      return 1 - measured(self, ea, eb) / 2
   elseif self.distance_name == "module" then
      return self.measure:unit(measured(self, ea, eb))
   end
   return (-measured(self, ea, eb)):exp()
end

--- Similarities [N] of pairs, from 0 to 1: a head's probability of "same"; else (1 + cosine) / 2 for
-- the cosine distance, what one of siamese.distances has for it, and exp(-distance) for others.
function Twin:similarity(a, b)
   return similarity(self, self:embed_pair(a, b))
end

--- Runs f in evaluation mode and without a graph.
local function quietly(self, f, ...)
   return self:in_mode(false, core.no_grad, f, ...)
end

--- What a calibration takes for what `forward` gives: distances, or a head's logits turned round.
local function as_scores(self, values)
   if core.is_tensor(values) then
      values = values:detach()
   elseif type(values) == "table" then
      values = core.tensor(values)
   else
      core.raise("Twin:calibrate: expected what the twin gives for pairs, [P], got " .. type(values))
   end
   return self.head and -values or values
end

--- Gives the twin a threshold and probabilities, from pairs that it was not trained on. They are saved with
-- it, and `verify` and `probability` go by them. After more training, calibrate anew.
-- @tparam tensor|table values [P], what the twin gives for the pairs: distances; logits where it has a head
-- @tparam tensor|table same [P], 1 or 0, both kinds among them
-- @tparam[opt] table opts of `calibration.fit`: `far` (a wanted rate of false accepts) or `threshold` (on
--   the distance; on minus the logit), `method`
-- @treturn Calibration also the twin's field `calibration`
-- @usage twin:calibrate(distances, same, { far = 1e-3 })
function Twin:calibrate(values, same, opts)
   self.calibration = calibration.fit(as_scores(self, values), same, opts)
   return self.calibration
end

local function calibrated(self, name)
   local found = self.calibration
   if not calibration.is(found) then
      core.raise(("Twin:%s: the twin is not calibrated; see Twin:calibrate"):format(name))
   end
   return found
end

local function embed_quietly(self, a, b, fn)
   return quietly(self, function()
      local ea, eb = self:embed_pair(a, b)
      if not ea then
         return nil, eb
      end
      return fn(ea, eb)
   end)
end

--- Probabilities [N], by the twin's calibration, that pairs are of one class.
-- @tparam tensor a or pictures, see above
-- @tparam tensor b
-- @treturn[1] tensor [N]
-- @treturn[2] nil
-- @treturn[2] string message about a file that cannot be read
function Twin:probability(a, b)
   local by = calibrated(self, "probability")
   return embed_quietly(self, a, b, function(ea, eb)
      return by:probability(self.head and -self.head(ea, eb) or measured(self, ea, eb))
   end)
end

--- Whether pairs are of one class: distance at most `threshold`, or similarity at least it with a head; by
-- default by the twin's calibration.
-- @tparam tensor a or pictures, see above
-- @tparam tensor b
-- @tparam[opt] number threshold default the calibration's
-- @treturn[1] {boolean,...}
-- @treturn[2] nil
-- @treturn[2] string message about a file that cannot be read
-- @usage local same = assert(twin:verify("passport.jpg", "door.jpg", 0.6))[1]
function Twin:verify(a, b, threshold)
   local by = self.calibration
   if type(threshold) ~= "number" and (threshold ~= nil or not calibration.is(by)) then
      core.raise(("Twin:verify: threshold must be a number, got %s%s"):format(type(threshold),
         threshold == nil and ", and the twin is not calibrated" or ""))
   end
   local same, why = embed_quietly(self, a, b, function(ea, eb)
      if not threshold then
         return by:same(self.head and -self.head(ea, eb) or measured(self, ea, eb))
      elseif self.head then
         return self.head(ea, eb):sigmoid():ge(threshold)
      end
      return measured(self, ea, eb):le(threshold)
   end)
   if not same then
      return nil, why
   end
   local list = same:totable()
   for i, value in ipairs(list) do
      list[i] = value == 1
   end
   return list
end

--- Which of the support set each query is: one-shot recognition.
-- @tparam tensor query [Q,...], or pictures, see above
-- @tparam tensor support [S,...], or pictures
-- @tparam[opt] table labels a label for each support; default their numbers
-- @treturn[1] {any,...} a label for each query
-- @treturn[1] tensor similarities [Q,S]
-- @treturn[2] nil
-- @treturn[2] string message about a file that cannot be read
-- @usage local names = twin:identify(photo, gallery, { "Ada", "Grace", "Edsger" })
function Twin:identify(query, support, labels)
   local why
   query, why = input(self, "identify", query)
   if query then
      support, why = input(self, "identify", support)
   end
   if not query or not support then
      return nil, why
   elseif labels and #labels ~= support:size(1) then
      core.raise(("Twin:identify: %d labels for %d support images"):format(#labels, support:size(1)))
   end
   local scores = quietly(self, function()
      local q, s = self.encoder(query), self.encoder(support)
      local count, size = q:size(1), s:size(1)
      local rows = {}
      for i = 1, count do
         rows[i] = similarity(self, q:narrow(1, i, 1):expand(size, -1), s)
      end
      return count > 0 and core.stack(rows) or core.zeros(0, size)
   end)
   local best = scores:size(1) > 0 and scores:argmax(2):totable() or {}
   for i, index in ipairs(best) do
      best[i] = labels and labels[index] or index
   end
   return best, scores
end

--- The options of a twin as data; nil and why where one of them is none.
local function describe(twin)
   local o = { distance = twin.distance_name }
   local parts = { encoder = twin.encoder, head = twin.head,
      distance = o.distance == "module" and twin.measure or nil }
   if o.distance ~= "module" and twin.measure ~= DISTANCES[o.distance] then
      return nil, "its distance is a function, which is not data"
   end
   for _, key in ipairs{ "encoder", "head", "distance" } do
      if parts[key] then
         local one, why = record.of(parts[key])
         if not one then
            return nil, ("its %s: %s"):format(key, why)
         end
         o[key] = one
      end
   end
   return o
end

local function rebuild(o)
   local given = options.extend(o, {})
   for _, key in ipairs{ "encoder", "head", "distance" } do
      if o[key] ~= nil and (key ~= "distance" or type(o[key]) == "table") then
         local module, why = record.build(o[key])
         given[key] = module or error(("Twin: %s: %s"):format(key, why), 0)
      end
   end
   return Twin(given)
end

record.register_class("Twin", Twin, describe, rebuild)

return M
