package thermo

import (
	"encoding/json"
	"fmt"
	"math"

	"gonum.org/v1/gonum/mat"
	"gonum.org/v1/gonum/stat/distuv"
)

// A Verdict is the answer of the zeroth law.
type Verdict string

// The verdicts of the zeroth law.
const (
	Equilibrium    Verdict = "equilibrium"
	NotEquilibrium Verdict = "not in equilibrium"
	NotEnoughData  Verdict = "not enough data"
)

const (
	zerothLevel      = 0.05 // false-alarm rate
	zerothPower      = 0.8  // chance to see a difference of zerothDifference, or the data are not enough
	zerothDifference = 0.1  // relative to the temperature
	zerothTolerance  = 0.01 // relative spread that is equilibrium however significant
)

// A Zeroth is the outcome of comparing thermometers: in equilibrium all agree.
type Zeroth struct {
	Verdict     Verdict
	PValue      float64 // chance of a disagreement as large in equilibrium; NaN when fewer than two thermometers are valid
	Temperature float64 // the common temperature, weighted by precision; NaN as PValue
	Spread      float64 // largest less smallest reading, relative to Temperature
	Detectable  float64 // relative departure of the least precise thermometer seen with a chance of 80 %
	Compared    int     // valid thermometers, known temperatures among them
	Reason      string  // in words

	exact int // of those compared, known without error: a bath
}

// ZerothLaw compares the valid readings, which must be of one temperature by
// different thermometers, and taken to be independent: Welch's test of equal
// means with unequal errors, so that few degrees of freedom are allowed for.
// Readings from the same draws are mostly positively correlated, which makes the
// test cautious: it then finds fewer departures than [ZerothLawSameDraws], which
// is the one to use where the thermometers are at hand, and raises fewer false
// alarms than its level. If they may be correlated in any way, use
// [ZerothLawAnyDependence].
//
// The verdict is [NotEquilibrium] when the p-value is below 0.05 and the readings
// spread by more than 1 %, which finite windows and steps always leave. It is
// [Equilibrium] when they do not, and a departure of 10 % of the least precise
// thermometer would have been seen with a chance of 80 %; else [NotEnoughData].
func ZerothLaw(readings []Reading) Zeroth {
	used, z := compared(readings)
	if z.Verdict != "" {
		return z
	}
	var exact []Reading
	for _, r := range used {
		if r.StdErr == 0 {
			exact = append(exact, r)
		}
	}
	if len(exact) > 0 {
		return z.againstExact(used, exact)
	}
	weights := make([]float64, len(used))
	var total float64
	for i, r := range used {
		weights[i] = 1 / sq(r.StdErr)
		total += weights[i]
	}
	var sum, slack float64
	for i, r := range used {
		sum += weights[i] / total * r.Value
		if r.DoF > 0 {
			slack += sq(1-weights[i]/total) / r.DoF
		}
	}
	z.Temperature = sum
	var q float64
	least, dof := math.Inf(1), 0.0
	for i, r := range used {
		q += weights[i] * sq(r.Value-sum)
		if w := weights[i] * (1 - weights[i]/total); w < least {
			least, dof = w, r.DoF
		}
	}
	j := float64(len(used))
	if slack == 0 {
		z.PValue = distuv.ChiSquared{K: j - 1}.Survival(q)
	} else {
		f := q / (j - 1) / (1 + 2*(j-2)/(j*j-1)*slack)
		z.PValue = distuv.F{D1: j - 1, D2: (j*j - 1) / (3 * slack)}.Survival(f)
	}
	return z.judge(detectable(j-1, dof) / math.Sqrt(least))
}

// againstExact compares readings with others that are known without error: the
// p-value of each one is that of Student's t, and they combine by χ².
func (z Zeroth) againstExact(used, exact []Reading) Zeroth {
	z.Temperature = exact[0].Value
	for _, r := range exact {
		if math.Abs(r.Value-z.Temperature) > 1e-9*math.Abs(z.Temperature) {
			z.PValue = 0
			return z.judge(0)
		}
	}
	var q, n, worst float64
	for _, r := range used {
		if r.StdErr == 0 {
			continue
		}
		t := -math.Abs(r.Value-z.Temperature) / r.StdErr
		p := distuv.UnitNormal.CDF(t)
		if r.DoF > 0 {
			p = distuv.StudentsT{Sigma: 1, Nu: r.DoF}.CDF(t)
		}
		q += sq(distuv.UnitNormal.Quantile(max(p, 1e-300)))
		n++
		worst = max(worst, detectable(1, r.DoF)*r.StdErr)
	}
	z.PValue = 1
	if n > 0 {
		z.PValue = distuv.ChiSquared{K: n}.Survival(q)
	}
	return z.judge(worst)
}

// ZerothLawAnyDependence compares readings that may be correlated in any way,
// known or not: each pair may differ by the sum of its two errors, and the
// smallest p-value is multiplied by the number of pairs (Bonferroni). It never
// raises more false alarms than its level, and sees less than the others.
func ZerothLawAnyDependence(readings []Reading) Zeroth {
	used, z := compared(readings)
	if z.Verdict != "" {
		return z
	}
	var sum, total, worst float64
	z.PValue = 1
	pairs := float64(len(used)*(len(used)-1)) / 2
	for i, a := range used {
		// Weights need not be optimal; exact readings must not make them infinite.
		w := 1 / (sq(a.StdErr) + 1e-24*sq(a.Value) + math.SmallestNonzeroFloat64)
		sum, total = sum+w*a.Value, total+w
		for _, b := range used[:i] {
			stderr := a.StdErr + b.StdErr
			if stderr == 0 {
				if math.Abs(a.Value-b.Value) > 1e-9*math.Abs(a.Value) {
					z.PValue = 0
				}
				continue
			}
			dof := smallestDoF(a.DoF, b.DoF)
			t := -math.Abs(a.Value-b.Value) / stderr
			p := 2 * distuv.UnitNormal.CDF(t)
			if dof > 0 {
				p = 2 * distuv.StudentsT{Sigma: 1, Nu: dof}.CDF(t)
			}
			z.PValue = min(z.PValue, pairs*p)
			level := distuv.UnitNormal.Quantile(1 - zerothLevel/2/pairs)
			worst = max(worst, (level+distuv.UnitNormal.Quantile(zerothPower))*stderr)
		}
	}
	z.Temperature = sum / total
	return z.judge(worst)
}

func smallestDoF(a, b float64) float64 {
	switch {
	case a == 0:
		return b
	case b == 0:
		return a
	}
	return min(a, b)
}

// A Thermometer is an accumulator of draws that [ZerothLawSameDraws] compares:
// [Virial], [Configurational] and [Kinetic].
type Thermometer interface {
	Global() Reading
	influence() influence
}

// ZerothLawSameDraws compares the global readings of thermometers that were
// added to draw by draw together. Differences are taken draw by draw, so their
// error counts the correlation between the thermometers and in time: Hotelling's
// T² on the joint cosine transforms of [Series], with the F distribution. The
// verdict is that of [ZerothLaw].
func ZerothLawSameDraws(thermometers ...Thermometer) Zeroth {
	var readings []Reading
	var influences []influence
	for _, t := range thermometers {
		r := t.Global()
		readings = append(readings, r)
		if f := t.influence(); usable(r) && f.cause == "" {
			influences = append(influences, f)
		}
	}
	used, z := compared(readings)
	if z.Verdict != "" {
		return z
	}
	k := math.MaxInt
	for _, f := range influences {
		if f.series.N() != influences[0].series.N() {
			z.Verdict, z.PValue = NotEnoughData, math.NaN()
			z.Reason = "the thermometers saw different numbers of draws"
			return z
		}
		k = min(k, cosines(f.deviation), cosines(less(f, influences[0])))
	}
	contrasts := len(influences) - 1
	if k < contrasts+2 {
		z.Verdict, z.PValue = NotEnoughData, math.NaN()
		z.Reason = fmt.Sprintf("%d degrees of freedom for %d thermometers", k, len(influences))
		return z
	}
	differences, covariance := contrast(influences, k)
	var chol mat.Cholesky
	if !chol.Factorize(covariance) {
		return z.identical(used, differences, covariance)
	}
	var solved mat.VecDense
	if err := chol.SolveVecTo(&solved, differences); err != nil {
		return z.identical(used, differences, covariance)
	}
	q, dof := float64(contrasts), float64(k)
	f := mat.Dot(differences, &solved) * (dof - q + 1) / (dof * q)
	z.PValue = distuv.F{D1: q, D2: dof - q + 1}.Survival(f)
	var worst, total float64
	for i, r := range used {
		weight := 1 / sq(max(r.StdErr, 1e-12*math.Abs(r.Value)))
		if total += weight; i == 0 {
			z.Temperature = r.Value
		}
		z.Temperature += weight / total * (r.Value - z.Temperature)
		if i > 0 {
			worst = max(worst, math.Sqrt(covariance.At(i-1, i-1)))
		}
	}
	return z.judge(detectable(q, dof-q+1) * worst)
}

// contrast returns the differences of all estimates from the first one, and
// their covariance from the first k cosine transforms of their batches.
func contrast(fs []influence, k int) (*mat.VecDense, *mat.SymDense) {
	n := len(fs) - 1
	differences := mat.NewVecDense(n, nil)
	transforms := make([][]float64, n)
	for i := range n {
		differences.SetVec(i, fs[i+1].value-fs[0].value)
		transforms[i] = transform(less(fs[i+1], fs[0]), k)
	}
	covariance := mat.NewSymDense(n, nil)
	s := fs[0].series
	batches := float64(len(fs[0].deviation))
	covered := batches * float64(s.size) / float64(s.n)
	for i := range n {
		for j := range i + 1 {
			var sum float64
			for m := range k {
				sum += transforms[i][m] * transforms[j][m]
			}
			covariance.SetSym(i, j, sum/float64(k)/batches*covered)
		}
	}
	return differences, covariance
}

// less returns the influence of every batch on the difference a − b.
func less(a, b influence) []float64 {
	d := make([]float64, len(a.deviation))
	for t := range d {
		d[t] = a.deviation[t] - b.deviation[t]
	}
	return d
}

// identical is the outcome when some differences have no spread at all.
func (z Zeroth) identical(used []Reading, differences *mat.VecDense, covariance *mat.SymDense) Zeroth {
	z.Temperature, z.PValue = used[0].Value, 1
	for i := range differences.Len() {
		if covariance.At(i, i) != 0 {
			z.Verdict, z.PValue = NotEnoughData, math.NaN()
			z.Reason = "the differences between the thermometers are linearly dependent"
			return z
		}
		if math.Abs(differences.AtVec(i)) > 1e-9*math.Abs(z.Temperature) {
			z.PValue = 0
		}
	}
	return z.judge(0)
}

func usable(r Reading) bool {
	return r.Valid() && !math.IsNaN(r.Value) && !math.IsInf(r.Value, 0) && r.StdErr >= 0 && !math.IsInf(r.StdErr, 0)
}

// compared returns the valid readings and, when fewer than two are, the verdict.
func compared(readings []Reading) ([]Reading, Zeroth) {
	z := Zeroth{PValue: math.NaN(), Temperature: math.NaN(), Spread: math.NaN(), Detectable: math.NaN()}
	var used []Reading
	low, high := math.Inf(1), math.Inf(-1)
	for _, r := range readings {
		if usable(r) {
			used = append(used, r)
			low, high = min(low, r.Value), max(high, r.Value)
			if r.StdErr == 0 {
				z.exact++
			}
		}
	}
	z.Compared = len(used)
	if len(used) < 2 {
		z.Verdict = NotEnoughData
		z.Reason = fmt.Sprintf("%d of %d thermometers valid, two are needed", len(used), len(readings))
		return nil, z
	}
	z.Spread = high - low // made relative by judge
	return used, z
}

// detectable returns the departure, in standard errors, that a test of the given
// numbers of degrees of freedom at zerothLevel sees with the chance zerothPower;
// dof 0 means that errors are known.
func detectable(contrasts, dof float64) float64 {
	critical := distuv.ChiSquared{K: contrasts}.Quantile(1 - zerothLevel)
	if dof > 0 {
		critical = contrasts * distuv.F{D1: contrasts, D2: dof}.Quantile(1-zerothLevel)
	}
	// The noncentral χ² is near normal in its square root (Fisher), which for
	// one contrast gives the familiar z_0.975 + z_0.8.
	return math.Sqrt(max(critical-(contrasts-1), 0)) + distuv.UnitNormal.Quantile(zerothPower)
}

// judge completes the outcome from its p-value, temperature and the absolute
// departure that would have been seen.
func (z Zeroth) judge(departure float64) Zeroth {
	scale := math.Abs(z.Temperature)
	if z.Spread > 0 {
		z.Spread /= scale
	}
	z.PValue = min(z.PValue, 1)
	z.Detectable = 0
	agree, differ := fmt.Sprintf("%d thermometers agree", z.Compared), fmt.Sprintf("%d thermometers differ", z.Compared)
	if n := z.Compared - z.exact; z.exact > 0 && n > 0 { // which is not read by a thermometer
		agree, differ = fmt.Sprintf("%d thermometers agree with the bath", n), fmt.Sprintf("%d thermometers and the bath differ", n)
		if n == 1 {
			agree, differ = "1 thermometer agrees with the bath", "1 thermometer and the bath differ"
		}
	}
	if departure > 0 {
		z.Detectable = departure / scale
	}
	switch {
	case math.IsNaN(z.PValue):
		z.Verdict = NotEnoughData
		z.Reason = "the readings cannot be compared"
	case z.PValue < zerothLevel && z.Spread > zerothTolerance:
		z.Verdict = NotEquilibrium
		z.Reason = fmt.Sprintf("%s by up to %.3g %% (p = %.2g)", differ, 100*z.Spread, z.PValue)
	case z.Detectable > zerothDifference:
		z.Verdict = NotEnoughData
		z.Reason = fmt.Sprintf("%s (p = %.2g), but a departure below %.3g %% would have gone unseen", agree, z.PValue, 100*z.Detectable)
	default:
		z.Verdict = Equilibrium
		z.Reason = fmt.Sprintf("%s within %.3g %% (p = %.2g)", agree, 100*z.Spread, z.PValue)
	}
	return z
}

// MarshalJSON writes numbers that are not known as null.
func (z Zeroth) MarshalJSON() ([]byte, error) {
	return json.Marshal(struct {
		PValue      *float64 `json:"p_value"`
		Verdict     Verdict  `json:"verdict"`
		Temperature *float64 `json:"temperature"`
		Spread      *float64 `json:"spread"`
		Detectable  *float64 `json:"detectable"`
		Compared    int      `json:"compared"`
		Reason      string   `json:"reason"`
	}{finite(z.PValue), z.Verdict, finite(z.Temperature), finite(z.Spread), finite(z.Detectable), z.Compared, z.Reason})
}
