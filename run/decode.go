package run

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"strconv"
)

// A decoder parses lines of events.jsonl, one after the other. encoding/json
// into a map takes ten times as long, and a long run has millions of lines.
type decoder struct {
	head   Record  // of the last line, without its values
	fields []field // of the last line; of two with one name the later counts

	line  []byte
	at    int
	known map[string]string // strings that repeat, to be allocated once
}

// A field is one named value of a record.
type field struct {
	name  string
	value float64
}

// maxKnown bounds what a decoder remembers: a file may hold any number of names.
const maxKnown = 1 << 12

// record returns the last line as a record of its own.
func (d *decoder) record() Record {
	r := d.head
	if len(d.fields) > 0 {
		r.Values = make(map[string]float64, len(d.fields))
		for _, f := range d.fields {
			r.Values[f.name] = f.value
		}
	}
	return r
}

// decode parses one line: an object of strings and numbers. It takes the numbers
// NaN, Infinity and -Infinity, which Python writes, with and without quotes.
// Whatever else a field holds is checked and skipped.
func (d *decoder) decode(line []byte) error {
	d.line, d.at, d.head, d.fields = line, 0, Record{}, d.fields[:0]
	seen := 0
	if !d.take('{') {
		return d.expected("an object")
	}
	for first := true; !d.take('}'); first = false {
		if !first && !d.take(',') {
			return d.expected(`"," or "}"`)
		}
		name, err := d.text(true)
		if err != nil {
			return err
		}
		if !d.take(':') {
			return d.expected(`":"`)
		}
		bit, err := d.member(name)
		if err != nil {
			return err
		}
		seen |= bit
	}
	if d.peek(); d.at < len(line) {
		return d.expected("the end of the line")
	}
	for i, name := range []string{"v", "t", "step", "kind"} {
		if seen&(1<<i) == 0 {
			return fmt.Errorf("the field %q is missing", name)
		}
	}
	return nil
}

// member parses what a name stands for. It returns the bit of a required name.
func (d *decoder) member(name string) (bit int, err error) {
	c := d.peek()
	switch name {
	case "v":
		v, err := d.integer()
		if err == nil && v != Version {
			err = fmt.Errorf("the record is of version %d: this kelvin reads version %d", v, Version)
		}
		return 1, err
	case "t":
		d.head.Time, err = d.number()
		if err == nil && !finite(d.head.Time) {
			err = d.expected("a finite time")
		}
		return 2, err
	case "step":
		d.head.Step, err = d.integer()
		return 4, err
	case "kind":
		if d.head.Kind, err = d.text(true); err == nil && d.head.Kind == "" {
			err = errors.New("the kind is empty")
		}
		return 8, err
	case "layer":
		d.head.Layer, err = d.text(true)
		return 0, err
	case "text":
		d.head.Text, err = d.text(false)
		return 0, err
	case "":
		return 0, d.skip(c)
	}
	var x float64
	switch {
	case c == '-' || c >= '0' && c <= '9' || c == 'N' || c == 'I':
		x, err = d.number()
	case c == '"':
		s, err := d.text(true)
		if x, ok := notFinite(s); err == nil && ok {
			d.fields = append(d.fields, field{name, x})
		}
		return 0, err
	default:
		return 0, d.skip(c)
	}
	if err == nil {
		d.fields = append(d.fields, field{name, x})
	}
	return 0, err
}

func notFinite(s string) (x float64, ok bool) {
	switch s {
	case "NaN":
		return math.NaN(), true
	case "Infinity":
		return math.Inf(1), true
	case "-Infinity":
		return math.Inf(-1), true
	}
	return 0, false
}

// peek skips white space and returns the next byte, 0 at the end.
func (d *decoder) peek() byte {
	for ; d.at < len(d.line); d.at++ {
		switch c := d.line[d.at]; c {
		case ' ', '\t', '\r', '\n':
		default:
			return c
		}
	}
	return 0
}

func (d *decoder) take(c byte) bool {
	if d.peek() != c {
		return false
	}
	d.at++
	return true
}

func (d *decoder) expected(what string) error {
	if d.at >= len(d.line) {
		return fmt.Errorf("byte %d: expected %s, got the end of the line", d.at, what)
	}
	rest := d.line[d.at:]
	return fmt.Errorf("byte %d: expected %s, got %q", d.at, what, rest[:min(len(rest), 16)])
}

// text parses a string; one that repeats from line to line is remembered.
func (d *decoder) text(repeats bool) (string, error) {
	if d.peek() != '"' {
		return "", d.expected("a string")
	}
	start, plain := d.at, true
	for i := start + 1; i < len(d.line); i++ {
		switch c := d.line[i]; {
		case c == '"':
			d.at = i + 1
			if !plain {
				var s string
				if err := json.Unmarshal(d.line[start:d.at], &s); err != nil {
					return "", fmt.Errorf("byte %d: %w", start, err)
				}
				return s, nil
			}
			return d.keep(d.line[start+1:i], repeats), nil
		case c == '\\':
			plain = false
			i++
		case c < ' ' || c >= 0x80: // not allowed, or UTF-8 to be checked
			plain = false
		}
	}
	d.at = len(d.line)
	return "", d.expected(`"\""`)
}

func (d *decoder) keep(b []byte, repeats bool) string {
	if s, ok := d.known[string(b)]; ok { // does not allocate
		return s
	}
	s := string(b)
	if repeats && len(d.known) < maxKnown {
		if d.known == nil {
			d.known = map[string]string{}
		}
		d.known[s] = s
	}
	return s
}

func (d *decoder) integer() (int64, error) {
	d.peek()
	start := d.at
	token := d.token()
	n, err := strconv.ParseInt(string(token), 10, 64)
	if err != nil || !jsonNumber(token) {
		d.at = start
		return 0, d.expected("an integer")
	}
	return n, nil
}

// number parses a number; one too large for a float64 is infinite.
func (d *decoder) number() (float64, error) {
	d.peek()
	start := d.at
	token := d.token()
	if x, ok := short(token); ok {
		return x, nil
	}
	if x, ok := notFinite(string(token)); ok {
		return x, nil
	}
	if jsonNumber(token) {
		if x, err := strconv.ParseFloat(string(token), 64); err == nil || errors.Is(err, strconv.ErrRange) {
			return x, nil
		}
	}
	d.at = start
	return 0, d.expected("a number")
}

// token takes what could be a number or a bare word.
func (d *decoder) token() []byte {
	start := d.at
	for d.at < len(d.line) {
		c := d.line[d.at]
		if c == ',' || c == '}' || c <= ' ' {
			break
		}
		d.at++
	}
	return d.line[start:d.at]
}

var powers = [...]float64{1e0, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9, 1e10, 1e11, 1e12, 1e13, 1e14, 1e15}

// short parses a number of at most 15 digits without exponent, exactly: digits
// and power of ten are both float64s (W. Clinger, How to read floating-point
// numbers accurately, 1990).
func short(token []byte) (x float64, ok bool) {
	digits := token
	if len(digits) > 0 && digits[0] == '-' {
		digits = digits[1:]
	}
	if len(digits) == 0 || len(digits) > 16 || digits[0] == '0' && len(digits) > 1 && digits[1] != '.' {
		return 0, false
	}
	var n uint64
	point := -1
	for i, c := range digits {
		switch {
		case c >= '0' && c <= '9':
			n = 10*n + uint64(c-'0')
		case c == '.' && point < 0 && i > 0 && i < len(digits)-1:
			point = i
		default:
			return 0, false
		}
	}
	x = float64(n)
	switch {
	case point >= 0:
		x /= powers[len(digits)-1-point]
	case len(digits) > 15:
		return 0, false
	}
	if len(digits) < len(token) {
		x = -x
	}
	return x, true
}

// jsonNumber reports whether token is a number as JSON writes them.
func jsonNumber(token []byte) bool {
	digits := func() bool {
		n := 0
		for n < len(token) && token[n] >= '0' && token[n] <= '9' {
			n++
		}
		token = token[n:]
		return n > 0
	}
	token = bytes.TrimPrefix(token, []byte("-"))
	if len(token) > 1 && token[0] == '0' && token[1] >= '0' && token[1] <= '9' || !digits() {
		return false
	}
	if len(token) > 0 && token[0] == '.' {
		if token = token[1:]; !digits() {
			return false
		}
	}
	if len(token) > 0 && (token[0] == 'e' || token[0] == 'E') {
		if token = token[1:]; len(token) > 0 && (token[0] == '+' || token[0] == '-') {
			token = token[1:]
		}
		if !digits() {
			return false
		}
	}
	return len(token) == 0
}

// skip passes over a value that begins with c and means nothing here.
func (d *decoder) skip(c byte) error {
	start := d.at
	switch c {
	case '"':
		_, err := d.text(false)
		return err
	case '{', '[':
		if !d.brackets() {
			return d.expected("the end of a nested value")
		}
	default:
		if _, ok := notFinite(string(d.token())); ok {
			return nil
		}
	}
	if !json.Valid(d.line[start:d.at]) {
		d.at = start
		return d.expected("a value")
	}
	return nil
}

// brackets passes over a nested value, to after its last bracket.
func (d *decoder) brackets() bool {
	depth, quoted := 0, false
	for ; d.at < len(d.line); d.at++ {
		switch c := d.line[d.at]; {
		case quoted && c == '\\':
			d.at++
		case c == '"':
			quoted = !quoted
		case quoted:
		case c == '{' || c == '[':
			depth++
		case c == '}' || c == ']':
			if depth--; depth == 0 {
				d.at++
				return true
			}
		}
	}
	d.at = len(d.line)
	return false
}
