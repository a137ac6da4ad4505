package dataset

import (
	"fmt"
	"slices"
	"strings"
	"unicode/utf8"
)

// Text cuts a text into examples of so many characters, one after the other; what
// is left at the end is dropped. A character is a token, its place in the sorted
// alphabet of the text, and the label of a position is the character after it.
func Text(text string, length int) (*Set, error) {
	if length < 1 || length > maxValues {
		return nil, fmt.Errorf("cutting a text: expected examples of 1 to %d characters, got %d", maxValues, length)
	}
	if !utf8.ValidString(text) {
		return nil, fmt.Errorf("cutting a text: expected UTF-8, got other bytes")
	}
	characters := []rune(text)
	n := (len(characters) - 1) / length
	if n < 1 {
		return nil, fmt.Errorf("cutting a text: expected at least %d characters for one example and the label of its last position, got %d", length+1, len(characters))
	}
	alphabet := slices.Clone(characters)
	slices.Sort(alphabet)
	alphabet = slices.Compact(alphabet)
	token := make(map[rune]int32, len(alphabet))
	for i, r := range alphabet {
		token[r] = int32(i)
	}
	s := &Set{N: n, Shape: []int{length}, DType: "int64", Classes: len(alphabet), Alphabet: slices.Clone(alphabet)}
	for i, r := range characters[:n*length] {
		s.X = append(s.X, float32(token[r]))
		s.Labels = append(s.Labels, token[characters[i+1]])
	}
	return s, nil
}

// grammar is the slots of a sentence, each with its words, the most frequent
// first: word i has the probability (1/i)/Σ 1/j.
var grammar = [][]string{
	{"the "},
	{"small ", "old ", "quiet ", "warm ", "grey ", "distant "},
	{"engine ", "lattice ", "network ", "sample ", "layer ", "bath ", "model ", "spin "},
	{"heats ", "cools ", "meets ", "follows ", "forgets ", "moves "},
	{"the ", "a "},
	{"river", "signal", "mirror", "gas", "crystal", "gradient", "garden", "cloud"},
	{". ", " again. ", " slowly. ", " at night. "},
}

// makeSentences writes sentences of the grammar until there are enough characters.
func makeSentences(o Options) (*Set, error) {
	_, data := randoms(o.Seed)
	var b strings.Builder
	for b.Len() <= o.Examples*o.Features {
		for _, words := range grammar {
			total := 0.0
			for i := range words {
				total += 1 / float64(i+1)
			}
			u, k := data.Float64()*total, 0
			for ; k+1 < len(words) && u >= 1/float64(k+1); k++ {
				u -= 1 / float64(k+1)
			}
			b.WriteString(words[k])
		}
	}
	return Text(b.String()[:o.Examples*o.Features+1], o.Features)
}
