package thermo

import (
	"encoding/json"
	"fmt"
	"math"
	"strconv"
	"strings"

	"gonum.org/v1/gonum/stat/distuv"
)

// A Reading is one estimated quantity with its uncertainty.
type Reading struct {
	Name    string  // what was read: "virial", "kinetic", "energy", …
	Group   string  // the layer or parameter group; empty for the whole system
	Value   float64 // the estimate, in Unit
	StdErr  float64 // standard error of Value, autocorrelation included; NaN when unknown, 0 when exact
	ESS     float64 // effective number of independent draws behind Value; 0 when it is not a sample mean
	DoF     float64 // degrees of freedom of StdErr, for Student's t; 0 means StdErr is known (normal)
	Unit    string  // "energy", "energy/nat", "nat", "1" …
	Invalid string  // why the reading must not be trusted; empty when it may be
}

// Valid reports whether the reading may be trusted; if not, Invalid says why.
func (r Reading) Valid() bool { return r.Invalid == "" }

// Interval returns the two-sided confidence interval of the given level
// (0.95, say), by Student's t with r.DoF degrees of freedom, or by the normal
// distribution when DoF is 0. Both ends are NaN when StdErr is.
func (r Reading) Interval(level float64) (low, high float64) {
	q := 0.5 + level/2
	z := distuv.UnitNormal.Quantile(q)
	if r.DoF > 0 {
		z = distuv.StudentsT{Mu: 0, Sigma: 1, Nu: r.DoF}.Quantile(q)
	}
	return r.Value - z*r.StdErr, r.Value + z*r.StdErr
}

// String formats the reading as "0.0123 ± 0.0004 energy/nat", with the value
// rounded to two significant digits of its standard error.
func (r Reading) String() string {
	s := FormatError(r.Value, r.StdErr)
	if r.Unit != "" && r.Unit != "1" {
		s += " " + r.Unit
	}
	if !r.Valid() {
		s += " (not valid: " + r.Invalid + ")"
	}
	return s
}

// FormatError formats value ± stderr, both rounded to two significant digits
// of stderr. With a stderr of zero, NaN or what is left by rounding it prints
// the value alone, to six significant digits. Minus signs are typographic ones.
func FormatError(value, stderr float64) string {
	if !(stderr > 1e-13*math.Abs(value)) || math.IsInf(stderr, 0) || math.IsNaN(value) || math.IsInf(value, 0) {
		return Format(value, 6)
	}
	magnitude := math.Max(math.Abs(value), stderr)
	exponent := math.Floor(math.Log10(magnitude))
	if exponent < -3 || exponent > 5 {
		scale := math.Pow(10, exponent)
		return fmt.Sprintf("(%s)×10%s", FormatError(value/scale, stderr/scale), superscript(int(exponent)))
	}
	decimals := int(math.Max(0, 1-math.Floor(math.Log10(stderr))))
	return strings.ReplaceAll(fmt.Sprintf("%.*f ± %.*f", decimals, value, decimals, stderr), "-", "−")
}

// Format formats a number to so many significant digits at most: 0.0123, −2.5×10⁻⁵.
func Format(value float64, digits int) string {
	mantissa, exponent, ok := strings.Cut(fmt.Sprintf("%.*g", digits, value), "e")
	if n, err := strconv.Atoi(exponent); ok && err == nil {
		mantissa += "×10" + superscript(n)
	}
	return strings.ReplaceAll(mantissa, "-", "−")
}

// superscript writes an exponent in Unicode: ⁻⁵.
func superscript(n int) string {
	return strings.NewReplacer("-", "⁻", "0", "⁰", "1", "¹", "2", "²", "3", "³", "4", "⁴",
		"5", "⁵", "6", "⁶", "7", "⁷", "8", "⁸", "9", "⁹").Replace(strconv.Itoa(n))
}

// MarshalJSON writes the fields that are known: value and stderr always (null
// when not finite), the others when they say something.
func (r Reading) MarshalJSON() ([]byte, error) {
	return json.Marshal(struct {
		Name    string   `json:"name,omitempty"`
		Group   string   `json:"group,omitempty"`
		Value   *float64 `json:"value"`
		StdErr  *float64 `json:"stderr"`
		ESS     *float64 `json:"ess,omitempty"`
		Unit    string   `json:"unit,omitempty"`
		Valid   bool     `json:"valid"`
		Invalid string   `json:"reason,omitempty"`
	}{r.Name, r.Group, finite(r.Value), finite(r.StdErr), nonzero(r.ESS), r.Unit, r.Valid(), r.Invalid})
}

func finite(x float64) *float64 {
	if math.IsNaN(x) || math.IsInf(x, 0) {
		return nil
	}
	return &x
}

func nonzero(x float64) *float64 {
	if x == 0 {
		return nil
	}
	return finite(x)
}
