package curvature

import (
	"fmt"
	"math"

	"github.com/kelvin-ml/kelvin/thermo"
)

// PopulationTop estimates the n largest eigenvalues of the population that the
// parts of the operator were drawn from, largest first.
//
// The eigenvalues of a sample mean scatter about those of the population, and
// extreme ones are further out on average. Perturbation theory gives both from
// the spread of the parts H_c: the variance of y·H_c y, and to second order the
// bias Σ_j Var(u_j·H_c y)/(λ − λ_j), which is taken off. Where it is not small
// the reading is not valid.
func (k *Krylov) PopulationTop(operator Parted, n int) ([]thermo.Reading, error) {
	var all []thermo.Reading
	for i := len(k.values) - 1; i >= 0 && len(all) < n; i-- {
		r, err := k.ofPopulation(operator, i)
		if err != nil {
			return nil, err
		}
		all = append(all, r)
	}
	return all, nil
}

// ofPopulation estimates the population's counterpart of the i-th value.
func (k *Krylov) ofPopulation(operator Parted, i int) (thermo.Reading, error) {
	parts := len(operator.Weights())
	if parts < minParts {
		return thermo.Reading{}, fmt.Errorf("curvature: %d parts, expected at least %d", parts, minParts)
	}
	m := len(k.values)
	y := k.vector(i)
	product, sum := make([]float64, len(y)), make([]float64, len(y))
	along := make([]moments, m) // u_j·H_c y
	squares := 0.0
	for c := range parts {
		if err := operator.ApplyPart(c, y, product); err != nil {
			return thermo.Reading{}, err
		}
		inBasis := components(k.Vectors, product)
		for j := range along {
			s := 0.0
			for l, x := range inBasis {
				s += x * k.vectors[l*m+j]
			}
			along[j].add(s)
		}
		squares += dot(product, product)
		axpy(1, product, sum)
	}
	n := float64(parts)
	rest := (squares - dot(sum, sum)/n) / (n - 1) // variance in all directions
	bias := 0.0
	for j := range along {
		v := along[j].squares / (n - 1)
		rest -= v
		if j != i {
			bias += v / n / (k.values[i] - k.values[j])
		}
	}
	// What the basis has not reached is the bulk, which is near zero.
	bias += max(0, rest) / n / k.values[i]
	variance := along[i].squares / (n - 1) / n
	r := thermo.Reading{Name: "eigenvalue", Unit: "1", Value: k.values[i] - bias, StdErr: math.Sqrt(variance), DoF: n - 1, ESS: n}
	if !(math.Abs(bias) < 0.25*math.Abs(k.values[i])) {
		r.Invalid = fmt.Sprintf("too few examples: they put the eigenvalue %.2g too high, of %.2g", bias, k.values[i])
	}
	return r, nil
}
