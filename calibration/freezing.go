package calibration

import (
	"context"
	"math"

	"gonum.org/v1/gonum/floats"

	"github.com/kelvin-ml/kelvin/thermo"
)

// A Freezing is where a softmax over a vocabulary is left to few tokens
// (docs/theory.md, T3: the random energy model).
type Freezing struct {
	Classes     int
	Spread      thermo.Reading // standard deviation of the logits of a row, mean over the rows
	Temperature thermo.Reading // Spread/√(2 ln K): frozen below it, if logits were normal
	Curve       []Tokens
}

// Tokens is how many tokens a softmax at a temperature is spread over.
type Tokens struct {
	Temperature float64
	Effective   thermo.Reading // exp(entropy), mean over the rows
	Normal      float64        // of independent normal logits of the same spread
}

// Freeze reads the freezing temperature of a vocabulary off logits, and the
// effective number of tokens at the given temperatures. Logits that are −Inf are
// no tokens. Rows are taken to be independent.
func Freeze(ctx context.Context, logits Source, temperatures []float64) (*Freezing, error) {
	f := &Freezing{}
	var spreads []float64
	effective := make([][]float64, len(temperatures))
	i := 0
	for row, err := range logits.All() {
		if err == nil {
			_, err = check(i, row, int32(max(0, argmax(row))))
		}
		if err == nil {
			err = ctx.Err()
		}
		if err != nil {
			return nil, err
		}
		f.Classes = len(row)
		largest, spread := floats.Max(row), 0.0
		n, mean := 0.0, 0.0
		for _, z := range row {
			if !math.IsInf(z, -1) {
				n++
				d := z - mean
				mean += d / n
				spread += d * (z - mean)
			}
		}
		spreads = append(spreads, math.Sqrt(spread/math.Max(n-1, 1)))
		for k, t := range temperatures {
			sum, weighted := 0.0, 0.0
			for _, z := range row {
				if w := math.Exp((z - largest) / t); w > 0 {
					sum += w
					weighted += w * (z - largest) / t
				}
			}
			effective[k] = append(effective[k], math.Exp(math.Log(sum)-weighted/sum))
		}
		i++
	}
	if i == 0 {
		return nil, errEmpty
	}
	f.Spread = independent("spread", spreads)
	f.Spread.Unit = "1"
	freezing := math.Sqrt(2 * math.Log(float64(f.Classes)))
	f.Temperature = f.Spread
	f.Temperature.Name = "freezing temperature"
	f.Temperature.Value, f.Temperature.StdErr = f.Spread.Value/freezing, f.Spread.StdErr/freezing
	for k, t := range temperatures {
		r := independent("effective tokens", effective[k])
		r.Unit = "tokens"
		f.Curve = append(f.Curve, Tokens{t, r, normalTokens(f.Classes, f.Spread.Value/t)})
	}
	return f, nil
}

// normalTokens is the effective number of tokens of the random energy model in the
// limit of many: entropy ln K − s²/2 above freezing, and a number of order one
// below it.
func normalTokens(classes int, s float64) float64 {
	logK := math.Log(float64(classes))
	if s*s/2 >= logK {
		return 1
	}
	return math.Exp(logK - s*s/2)
}
