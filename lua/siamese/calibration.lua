--- Calibration: a threshold that keeps a promise, and distances as probabilities.
--
--    local distances, same = ...               -- of validation pairs: neither trained on nor tested on
--    local c = twin:calibrate(distances, same, { far = 1e-3 })
--    c:evaluate(test_distances, test_same)     -- what the promise is worth on others
--    assert(siamese.save("twin.safetensors", twin))
--    twin:verify(a, b)                         -- by that threshold, in another process too
--
-- A calibration is fitted on pairs of both kinds. It holds a threshold on the distance (the one with a wanted
-- rate of false accepts, or the one that is right most often), the map from distance to the probability of
-- "same", and the figures of both. Probabilities are those of the pairs it was fitted on: where same pairs
-- are rarer in use than they were there, they are rarer at every distance.
-- @module siamese.calibration
local core = require "siamese.core"
local common = require "siamese.metrics.common"
local options = require "siamese.options"

local evaluation = core.evaluation
local M = {}

-- Maps: each has `fit`, which gives its parameters, and `apply`.

local function sigmoid(self, distances)
   return (distances * -self.a - self.b):sigmoid()
end

local function interpolate(self, distances)
   return evaluation.interpolate(distances, self.distances, self.values)
end

local MAPS = {
   platt = { apply = sigmoid, fit = function(name, distances, same)
      local a, b = common.blame(name, evaluation.platt, distances, same)
      return { a = a, b = b }
   end },
   isotonic = { apply = interpolate, fit = function(name, distances, same)
      local x, y = common.blame(name, evaluation.isotonic, distances, same)
      return { distances = x, values = y }
   end },
}

--- @type Calibration
local Calibration = {}
Calibration.__index = Calibration
Calibration.__name = "Calibration"

--- Distances as a float32 tensor [P] outside of the graph.
local function as_distances(name, distances)
   local t = core.is_tensor(distances) and distances:detach() or core.tensor(distances)
   if t:dim() ~= 1 then
      core.raise(("%s: expected distances [P], got %s"):format(name, options.text(t.shape)))
   end
   return t
end

--- The probability that pairs at these distances are of one class.
-- @tparam tensor|table distances [P]
-- @treturn tensor [P], from 0 to 1
function Calibration:probability(distances)
   if not self.method then
      core.raise("Calibration:probability: it was fitted with method = false, as a threshold only")
   end
   return MAPS[self.method].apply(self.map, as_distances("Calibration:probability", distances))
end

--- Whether pairs at these distances are of one class: at most the threshold.
-- @tparam tensor|table distances [P]
-- @treturn tensor uint8 [P]
function Calibration:same(distances)
   return as_distances("Calibration:same", distances):le(self.threshold)
end

local BINS = 10

--- What the calibration is worth on these pairs.
local function figures(self, distances, same)
   local report = evaluation.roc(distances, same)
   local out = { same = report.same, different = report.different, auc = report.auc,
      equal_error_rate = report.equal_error_rate, average_precision = report.average_precision }
   out.accuracy = evaluation.accuracy(distances, same, self.threshold)
   local kinds = core.is_tensor(same) and same:float() or core.tensor(same)
   local accepted = self:same(distances):float()
   out.true_accept_rate = (accepted * kinds):sum():item() / report.same
   out.false_accept_rate = (accepted * (1 - kinds)):sum():item() / report.different
   if self.method then
      local reliability = M.reliability(self:probability(distances), same, { bins = BINS })
      out.expected_calibration_error, out.brier = reliability.expected_calibration_error, reliability.brier
   end
   return out
end

--- The figures on pairs that the calibration has not seen: these do not flatter. They are kept with it, as
-- `tested`, and saved with the twin.
-- @tparam tensor|table distances [P]
-- @tparam tensor|table same [P], 1 or 0
-- @treturn table `same`, `different` (how many), `auc`, `equal_error_rate`, `average_precision`, `accuracy`,
--   `true_accept_rate` and `false_accept_rate` at the threshold; with a map `expected_calibration_error` (10
--   bins) and `brier`. Rates of a kind that does not occur are NaN
function Calibration:evaluate(distances, same)
   common.blame("Calibration:evaluate", evaluation.roc, distances, same)
   self.tested = figures(self, as_distances("Calibration:evaluate", distances), same)
   return self.tested
end

--- A copy of a flat table without numbers that JSON does not have.
local function finite(t)
   local out = {}
   for key, value in pairs(t) do
      if type(value) ~= "number" or value - value == 0 then
         out[key] = value
      end
   end
   return out
end

local function copy(list)
   return table.move(list, 1, #list, 1, {})
end

--- All of it as data: what `calibration.from` makes the same of, and what a twin's file holds.
-- @treturn table
function Calibration:options()
   local map
   if self.method == "platt" then
      map = { a = self.map.a, b = self.map.b }
   elseif self.method then
      map = { distances = copy(self.map.distances), values = copy(self.map.values) }
   end
   return { threshold = self.threshold, far = self.far, method = self.method, map = map,
      figures = finite(self.figures), tested = self.tested and finite(self.tested) or nil }
end

local function percent(x)
   return x and x == x and ("%.2f %%"):format(100 * x) or "-"
end

function Calibration:__tostring()
   local function line(f)
      return ("accuracy %s, false accepts %s, true accepts %s, EER %s (%d pairs)"):format(
         percent(f.accuracy), percent(f.false_accept_rate), percent(f.true_accept_rate),
         percent(f.equal_error_rate), f.same + f.different)
   end
   local text = ("Calibration(threshold %.6g%s%s): %s"):format(self.threshold,
      self.far and (", for %g false accepts"):format(self.far) or "",
      self.method and ", " .. self.method or "", line(self.figures))
   return self.tested and text .. "; tested: " .. line(self.tested) or text
end

local FIT = { far = options.optional, threshold = options.optional, method = "platt" }

local function check_fit(name, opts)
   local o = options.check(name, opts, FIT)
   if o.method ~= false then
      options.check_choice(name, o, "method", { "platt", "isotonic" })
   end
   if o.far ~= nil then
      options.check_number(name, o, "far", 0, 1)
   end
   if o.threshold ~= nil and (type(o.threshold) ~= "number" or o.threshold - o.threshold ~= 0) then
      core.raise(("%s: threshold must be a finite number, got %s"):format(name, tostring(o.threshold)))
   elseif o.threshold and o.far then
      core.raise(name .. ": far chooses the threshold; give one of the two")
   end
   return o
end

local function choose_threshold(name, distances, same, o)
   if o.threshold then
      return o.threshold
   elseif o.far then
      return common.blame(name, evaluation.rates, distances, same, { o.far })[1].threshold
   end
   return evaluation.roc(distances, same).threshold
end

--- Fits a calibration. Take pairs that were not trained on: the distances of those that were are too good.
-- @tparam tensor|table distances [P], finite
-- @tparam tensor|table same [P], 1 or 0, both kinds among them
-- @tparam[opt] table opts `far`: the threshold is to let in no more than this share of different pairs (see
--   `metrics.tar_at_far`); or `threshold`: itself; default the one that is right most often; `method`:
--   "platt" (default; Platt 1999 with the targets and the method of Lin, Lin, Weng 2007), "isotonic" (pool
--   adjacent violators; wants a thousand pairs or so), or false (no probabilities)
-- @treturn Calibration with `threshold`, `far`, `method`, `figures` (as `evaluate` gives them, of these very
--   pairs)
-- @usage local c = calibration.fit(distances, same, { far = 1e-2, method = "isotonic" })
function M.fit(distances, same, opts)
   local name = "calibration.fit"
   local o = check_fit(name, opts)
   local d = as_distances(name, distances)
   local map = MAPS[o.method or "platt"].fit(name, d, same) -- checks the pairs in any case
   local self = setmetatable({ far = o.far, method = o.method,
      map = o.method and map or nil, threshold = choose_threshold(name, d, same, o) }, Calibration)
   self.figures = figures(self, d, same)
   return self
end

--- The threshold on the distance that lets in no more than a share of different pairs: between the last
-- distance that may and the next.
-- @tparam tensor|table distances [P]
-- @tparam tensor|table same [P], 1 or 0, some of them 0
-- @tparam number far from 0 to 1
-- @treturn number threshold
-- @treturn number the share of same pairs that it lets in (NaN without any)
-- @treturn number the share of different pairs that it lets in
function M.threshold_at_far(distances, same, far)
   local name = "calibration.threshold_at_far"
   options.check_number(name, { far = far }, "far", 0, 1)
   local at = common.blame(name, evaluation.rates, distances, same, { far })[1]
   return at.threshold, at.tar, at.reached
end

-- From data

local NUMBERS = { "same", "different", "auc", "equal_error_rate", "average_precision", "accuracy",
   "true_accept_rate", "false_accept_rate", "expected_calibration_error", "brier" }

local function check_figures(key, given)
   local spec = {}
   for _, name in ipairs(NUMBERS) do
      spec[name] = options.optional
   end
   spec.same, spec.different = options.required, options.required
   local f = options.check("calibration." .. key, given, spec)
   for name in pairs(f) do
      options.check_number("calibration." .. key, f, name, 0, math.huge)
   end
   options.check_count("calibration." .. key, f, "same", 0)
   options.check_count("calibration." .. key, f, "different", 0)
   return f
end

local function check_number(what, value)
   if type(value) ~= "number" or value - value ~= 0 then
      core.raise(("calibration.from: %s must be a finite number, got %s"):format(what, tostring(value)))
   end
end

local function check_corners(map)
   for _, key in ipairs{ "distances", "values" } do
      if type(map[key]) ~= "table" or #map[key] == 0 or #map[key] ~= #map.distances then
         core.raise("calibration.from: distances and values must be lists of the same length")
      end
      for i, value in ipairs(map[key]) do
         check_number(("%s[%d]"):format(key, i), value)
         if key == "distances" and i > 1 and value <= map.distances[i - 1] then
            core.raise("calibration.from: distances must grow")
         elseif key == "values" and (value < 0 or value > 1) then
            core.raise("calibration.from: values must be from 0 to 1")
         end
      end
   end
   return { distances = copy(map.distances), values = copy(map.values) }
end

local function check_map(method, given)
   local name = "calibration.from"
   if method == false then
      return nil
   elseif method == "platt" then
      local map = options.check(name, given, { a = options.required, b = options.required })
      check_number("a", map.a)
      check_number("b", map.b)
      return map
   end
   return check_corners(options.check(name, given,
      { distances = options.required, values = options.required }))
end

--- A calibration of `Calibration:options()`; one that is one already is taken as it is.
-- @tparam table|Calibration value
-- @treturn Calibration
function M.from(value)
   local name = "calibration.from"
   if M.is(value) then
      return value
   end
   local o = options.check(name, value, { threshold = options.required, far = options.optional,
      method = options.required, map = options.optional, figures = options.required,
      tested = options.optional })
   if o.method ~= false then
      options.check_choice(name, o, "method", { "platt", "isotonic" })
   end
   if o.far ~= nil then
      options.check_number(name, o, "far", 0, 1)
   end
   check_number("threshold", o.threshold)
   return setmetatable({ threshold = o.threshold, far = o.far, method = o.method,
      map = check_map(o.method, o.map), figures = check_figures("figures", o.figures),
      tested = o.tested and check_figures("tested", o.tested) or nil }, Calibration)
end

--- Whether a value is a Calibration.
function M.is(value)
   return getmetatable(value) == Calibration
end

-- Reliability

--- Edges between bins: equal widths, or equal counts (percentiles, interpolated as NumPy's).
local function make_edges(probabilities, bins, strategy)
   local edges = {}
   local sorted = strategy == "quantile" and probabilities:sort(1):totable()
   for i = 1, bins - 1 do
      if sorted then
         local at = (#sorted - 1) * i / bins
         local low = math.floor(at)
         local here, there = sorted[low + 1], sorted[math.min(low + 2, #sorted)]
         edges[i] = here + (there - here) * (at - low)
      else
         edges[i] = i / bins
      end
   end
   return edges
end

local function summarise(count, sum, same, edges)
   local out, total = { bins = {}, expected_calibration_error = 0, maximum_calibration_error = 0 }, 0
   for i, n in ipairs(count) do
      total = total + n
      local bin = { low = edges[i - 1] or 0, high = edges[i] or 1, count = math.tointeger(n) }
      if n > 0 then
         bin.predicted, bin.observed = sum[i] / n, same[i] / n
         local gap = math.abs(bin.predicted - bin.observed)
         out.expected_calibration_error = out.expected_calibration_error + n * gap
         out.maximum_calibration_error = math.max(out.maximum_calibration_error, gap)
      end
      out.bins[i] = bin
   end
   out.expected_calibration_error = out.expected_calibration_error / total
   return out
end

--- Whether pairs said to be "same" with probability p are so with frequency p (DeGroot and Fienberg 1983;
-- Niculescu-Mizil and Caruana 2005). Pairs are sorted into bins by their probability.
-- @tparam tensor|table probabilities [P], from 0 to 1
-- @tparam tensor|table same [P], 1 or 0
-- @tparam[opt] table opts `bins` (default 10), `strategy`: "uniform" (default; equal widths) or "quantile"
--   (equal counts)
-- @treturn table `bins`: list of { low =, high =, count =, predicted = mean probability, observed = share
--   that is same } (the last two absent from empty ones); `expected_calibration_error` (mean of
--   |predicted - observed|, weighed by count: Naeini, Cooper, Hauskrecht 2015), `maximum_calibration_error`,
--   `brier` (mean squared error). `figure.reliability` draws it
function M.reliability(probabilities, same, opts)
   local name = "calibration.reliability"
   local o = options.check(name, opts, { bins = 10, strategy = "uniform" })
   options.check_count(name, o, "bins", 1)
   options.check_choice(name, o, "strategy", { "uniform", "quantile" })
   local p = as_distances(name, probabilities)
   if p:isnan():sum():item() > 0 then
      core.raise(name .. ": a probability is not a number")
   end
   local edges = make_edges(p, o.bins, o.strategy)
   local count, sum, hits, brier = common.blame(name, evaluation.bins, p, same, edges)
   local out = summarise(count, sum, hits, edges)
   out.brier = brier
   return out
end

return M
