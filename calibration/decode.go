package calibration

import (
	"cmp"
	"context"
	"math"
	"slices"

	"gonum.org/v1/gonum/stat/distuv"

	"github.com/kelvin-ml/kelvin/thermo"
)

// A Truncation is what a decoder leaves out before it samples.
type Truncation string

// The truncations that can be told from tokens.
const (
	Whole Truncation = "none"
	TopK  Truncation = "top-k" // all but the k most probable tokens
	TopP  Truncation = "top-p" // all but the fewest most probable ones that make up p, at the temperature
)

// A Decoder is what tokens say of how they were sampled from logits.
type Decoder struct {
	N, Classes int

	Temperature thermo.Reading // allowing for the truncation
	Low, High   float64        // its 95 % profile-likelihood interval
	Plain       thermo.Reading // as if there were no truncation: too cold if there is

	Truncation Truncation
	K          int     // top-k: the largest rank that was sampled, which k is at least
	P          float64 // top-p: the largest mass above a token that was sampled, which p exceeds
	PValue     float64 // chance that sampling all tokens would leave the tail as empty as it is; 1 when nothing is missing
}

// significance below which a truncation is believed.
const significance = 1e-3

// Decode reads the temperature at which tokens were sampled from logits, and
// whether only the most probable were: then all tokens lie above a rank or a
// cumulative probability that sampling from all of them would have passed. The
// temperature maximises the likelihood among what was left. Tokens are taken to be
// independent given their logits.
func Decode(ctx context.Context, logits Source, tokens []int32) (*Decoder, error) {
	d := &Decoder{N: len(tokens), Truncation: Whole, PValue: 1}
	plain := &profile{ctx: ctx, logits: logits, tokens: tokens}
	if err := plain.pass(1, Whole); err != nil {
		return nil, err
	}
	d.Classes = plain.classes
	best, err := plain.maximise(Whole, 0)
	if err != nil {
		return nil, err
	}
	d.Plain = best.reading(d.N)
	d.Temperature, d.Low, d.High = d.Plain, best.low, best.high
	if !d.Plain.Valid() {
		return d, nil
	}
	for _, kind := range []Truncation{TopK, TopP} {
		// The plain fit is colder than the truth, and its tail emptier: what does not
		// surprise it need not be looked at.
		if err := plain.pass(d.Plain.Value, kind); err != nil {
			return nil, err
		}
		if plain.logEmpty > math.Log(0.05) {
			continue
		}
		f, err := plain.maximise(kind, d.Plain.Value)
		if err != nil {
			return nil, err
		}
		if !f.reading(d.N).Valid() {
			continue
		}
		// The tail beyond what was sampled, at the temperature of the truncated fit.
		if err := plain.pass(f.temperature, kind); err != nil {
			return nil, err
		}
		p := math.Exp(plain.logEmpty)
		if p < significance && f.value > best.value {
			best = f
			d.Truncation, d.PValue = kind, p
			d.K, d.P = 0, 0
			if kind == TopK {
				d.K = plain.rank + 1
			} else {
				d.P = plain.mass
			}
			d.Temperature, d.Low, d.High = f.reading(d.N), f.low, f.high
		}
	}
	return d, nil
}

// A profile is the log-likelihood of the temperature, the truncation being the
// tightest that allows all tokens, which is its maximum-likelihood estimate.
type profile struct {
	ctx     context.Context
	logits  Source
	tokens  []int32
	classes int

	// Of the last pass.
	value, score, information float64 // of log T = −log β; derivatives by β at β = 1/T
	rank                      int     // largest of a token
	mass                      float64 // largest above a token
	logEmpty                  float64 // log chance of no token beyond

	orders map[int][]int32 // of the logits of rows, as far as there is room
	room   int             // for how many more logits
}

// ordersRoom is the number of logits whose order is kept between passes.
const ordersRoom = 1 << 26

// order returns the indices of a row, the largest logit first.
func (p *profile) order(i int, row []float64) []int32 {
	if kept, ok := p.orders[i]; ok {
		return kept
	}
	if p.orders == nil {
		p.orders, p.room = map[int][]int32{}, ordersRoom
	}
	order := make([]int32, len(row))
	for j := range order {
		order[j] = int32(j)
	}
	slices.SortFunc(order, func(a, b int32) int { return cmp.Or(cmp.Compare(row[b], row[a]), cmp.Compare(a, b)) })
	if p.room -= len(row); p.room > 0 {
		p.orders[i] = order
	}
	return order
}

// pass sums the likelihood of all tokens at a temperature.
func (p *profile) pass(t float64, kind Truncation) error {
	if kind == TopP || kind == TopK {
		if err := p.limits(t); err != nil {
			return err
		}
	}
	p.value, p.score, p.information, p.logEmpty = 0, 0, 0, 0
	beta := 1 / t
	err := each(p.logits, p.tokens, func(i int, row []float64, largest float64, token int) {
		p.classes = len(row)
		var z, first, second, rest float64
		if kind == Whole {
			for _, x := range row {
				w := math.Exp(beta * (x - largest))
				if w > 0 {
					z, first, second = z+w, first+w*(x-largest), second+w*(x-largest)*(x-largest)
				}
			}
		} else {
			order := p.order(i, row)
			total := 0.0
			for _, j := range order {
				total += math.Exp(beta * (row[j] - largest))
			}
			for r, j := range order {
				w := math.Exp(beta * (row[j] - largest))
				if w == 0 {
					break
				}
				if (kind == TopK && r > p.rank) || (kind == TopP && z/total > p.mass) {
					rest += w
					continue
				}
				z, first, second = z+w, first+w*(row[j]-largest), second+w*(row[j]-largest)*(row[j]-largest)
			}
			p.logEmpty += math.Log(z / (z + rest))
		}
		mean := first / z
		p.value += beta*(row[token]-largest) - math.Log(z)
		p.score += row[token] - largest - mean
		p.information += math.Max(second/z-mean*mean, 0)
	})
	if err != nil {
		return err
	}
	return p.ctx.Err()
}

// limits finds the largest rank and the largest mass above a token.
func (p *profile) limits(t float64) error {
	p.rank, p.mass = 0, 0
	return each(p.logits, p.tokens, func(i int, row []float64, largest float64, token int) {
		rank, above, total := 0, 0.0, 0.0
		for j, x := range row {
			w := math.Exp((x - largest) / t)
			total += w
			if x > row[token] || x == row[token] && j < token {
				rank++
				above += w
			}
		}
		p.rank, p.mass = max(p.rank, rank), math.Max(p.mass, above/total)
	})
}

// A fit is a maximum of a profile.
type fit struct {
	temperature, stderr float64
	low, high           float64
	value               float64
	cause               string
}

func (f fit) reading(n int) thermo.Reading {
	return thermo.Reading{Name: "temperature", Unit: "1", Value: f.temperature, StdErr: f.stderr, ESS: float64(n), Invalid: f.cause}
}

// maximise finds the temperature of the largest likelihood by golden section over
// its logarithm: with top-p the profile has corners, as the tokens that are
// allowed change with the temperature. If colder is not 0, it is a temperature
// below the maximum.
func (p *profile) maximise(kind Truncation, colder float64) (fit, error) {
	var failed error
	at := func(x float64) float64 {
		if failed == nil {
			failed = p.pass(math.Exp(x), kind)
		}
		return p.value
	}
	low, high := math.Log(coldest), math.Log(hottest)
	x, step := low, math.Ln2/2
	if colder > 0 {
		x, step = math.Log(colder), 0.1
	}
	start, value := x, at(x)
	for next := at(x + step); next > value && x < high; next = at(x + step) {
		x, value = x+step, next
	}
	switch {
	case x == low:
		return fit{temperature: coldest, cause: "the temperature is below 1/64: every token is the most probable, or nearly so"}, failed
	case x >= high:
		return fit{temperature: hottest, cause: "the temperature is above 64: the tokens hardly prefer large logits"}, failed
	}
	x = golden(at, math.Max(x-step, start), x+step, 1e-5)
	f := fit{temperature: math.Exp(x), value: at(x)}
	if !(p.information > 0) {
		f.cause = "the likelihood is flat at its maximum"
		return f, failed
	}
	f.stderr = f.temperature * f.temperature / math.Sqrt(p.information)
	drop := distuv.ChiSquared{K: 1}.Quantile(0.95) / 2
	inside := func(y float64) bool { return f.value-at(y) < drop }
	width := 2.5 * f.stderr / f.temperature
	f.low, f.high = math.Exp(edge(inside, x, -width)), math.Exp(edge(inside, x, width))
	return f, failed
}

// golden returns where f is largest between a and b, to a tolerance.
func golden(f func(float64) float64, a, b, tolerance float64) float64 {
	const ratio = 0.6180339887498949
	c, d := b-ratio*(b-a), a+ratio*(b-a)
	fc, fd := f(c), f(d)
	for b-a > tolerance {
		if fc >= fd {
			b, d, fd = d, c, fc
			c = b - ratio*(b-a)
			fc = f(c)
		} else {
			a, c, fc = c, d, fd
			d = a + ratio*(b-a)
			fd = f(d)
		}
	}
	return (a + b) / 2
}

// edge returns where inside ends, from x on in steps that grow from a first one.
func edge(inside func(float64) bool, x, step float64) float64 {
	in, out := x, x+step
	for range 20 {
		if !inside(out) {
			break
		}
		in, out = out, out+step
		step *= 2
	}
	for range 12 {
		if m := (in + out) / 2; inside(m) {
			in = m
		} else {
			out = m
		}
	}
	return (in + out) / 2
}
