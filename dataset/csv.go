package dataset

import (
	"bytes"
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"math"
	"slices"
	"strconv"
	"strings"
)

// openCSV reads comma-separated numbers, one example a line. A first line with
// anything but numbers is a header. The answer is the column named label,
// class, y or target, else the last column. A column label or class must hold
// classes; any other answer is taken as classes when every value is an integer
// from 0, and as a real-valued target otherwise.
func openCSV(path string) (*Set, error) {
	data, err := readFile(path)
	if err != nil {
		return nil, err
	}
	return parseCSV(bytes.NewReader(data))
}

var answerColumns = []string{"label", "class", "y", "target"}

func parseCSV(r io.Reader) (*Set, error) {
	records := csv.NewReader(r)
	records.ReuseRecord = true
	records.TrimLeadingSpace = true
	first, err := records.Read()
	if errors.Is(err, io.EOF) {
		return nil, errors.New("expected lines of comma-separated numbers, got an empty file")
	}
	if err != nil {
		return nil, err // names the line itself
	}
	columns := len(first)
	if columns < 2 {
		return nil, fmt.Errorf("expected at least 2 comma-separated columns (features and an answer), got %d", columns)
	}
	answer, mustBeClass := columns-1, false
	s := &Set{Shape: []int{columns - 1}, DType: "text"}
	var answers []float64
	if isHeader(first) {
		if answer, mustBeClass, err = answerColumn(first); err != nil {
			return nil, err
		}
	} else if answers, err = s.addRecord(records, first, answer, answers); err != nil {
		return nil, err
	}
	for {
		record, err := records.Read()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return nil, err
		}
		if answers, err = s.addRecord(records, record, answer, answers); err != nil {
			return nil, err
		}
	}
	if s.N == 0 {
		return nil, errors.New("expected at least one example below the header")
	}
	return s, s.setAnswers(answers, mustBeClass)
}

func isHeader(record []string) bool {
	return slices.ContainsFunc(record, func(field string) bool {
		_, err := strconv.ParseFloat(strings.TrimSpace(field), 64)
		return err != nil && !errors.Is(err, strconv.ErrRange)
	})
}

// answerColumn finds the answer in a header.
func answerColumn(header []string) (column int, mustBeClass bool, err error) {
	for _, name := range answerColumns {
		match := func(field string) bool { return strings.EqualFold(strings.TrimSpace(field), name) }
		column := slices.IndexFunc(header, match)
		if column < 0 {
			continue
		}
		if slices.ContainsFunc(header[column+1:], match) {
			return 0, false, fmt.Errorf("line 1: expected one column named %q, got two", name)
		}
		return column, name == "label" || name == "class", nil
	}
	return len(header) - 1, false, nil
}

// addRecord appends one example: its features to s, its answer to answers.
func (s *Set) addRecord(records *csv.Reader, record []string, answer int, answers []float64) ([]float64, error) {
	for column, field := range record {
		v, err := strconv.ParseFloat(strings.TrimSpace(field), 64)
		if err != nil || math.IsNaN(v) || math.IsInf(float64(float32(v)), 0) {
			line, _ := records.FieldPos(column)
			return nil, fmt.Errorf("line %d, column %d: expected a finite number, got %.30q", line, column+1, field)
		}
		if column == answer {
			answers = append(answers, v)
		} else {
			s.X = append(s.X, float32(v))
		}
	}
	s.N++
	return answers, nil
}

// setAnswers takes the answers as classes where they can be or must be, else as
// targets.
func (s *Set) setAnswers(answers []float64, mustBeClass bool) error {
	labels := make([]int32, len(answers))
	for i, v := range answers {
		if v != math.Trunc(v) || !(v >= 0 && v < MaxClasses) {
			if mustBeClass {
				return fmt.Errorf("example %d: expected a class label, an integer from 0 to %d, got %v", i+1, MaxClasses-1, v)
			}
			s.Outputs = 1
			for _, v := range answers {
				s.Y = append(s.Y, float32(v))
			}
			return nil
		}
		labels[i] = int32(v)
	}
	s.setLabels(labels)
	return nil
}
