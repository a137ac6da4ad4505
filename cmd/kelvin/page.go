package main

import (
	"fmt"
	"regexp"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/kelvin-ml/kelvin/report"
)

// addHTMLFlag adds --html. That its file can be written is checked before the
// command runs (newRootCommand).
func addHTMLFlag(cmd *cobra.Command) {
	cmd.Flags().String("html", "", "also write the result as a page, one self-contained HTML `file`")
}

// htmlFile is the file of --html; "" where it is not given or there is no such flag.
func htmlFile(cmd *cobra.Command) string {
	if f := cmd.Flags().Lookup("html"); f != nil {
		return f.Value.String()
	}
	return ""
}

// writePage writes the page of a result to the file of --html, if it is given.
func writePage(cmd *cobra.Command, page func() report.Page) error {
	path := htmlFile(cmd)
	if path == "" {
		return nil
	}
	if err := madeBy(cmd, page()).WriteFile(path); err != nil {
		return err
	}
	fmt.Fprintf(cmd.ErrOrStderr(), "wrote %s\n", path)
	return nil
}

// madeBy adds the seed and the command to the facts of a page.
func madeBy(cmd *cobra.Command, page report.Page) report.Page {
	if seed := cmd.Flags().Lookup("seed"); seed != nil {
		page.Facts = append(page.Facts, report.Fact{Label: "seed", Value: seed.Value.String()})
	}
	page.Facts = append(page.Facts, report.Fact{Label: "command", Value: commandLine(cmd)})
	return page
}

// commandLine is what to type for the same result. Addresses of webhooks are
// secrets, and are left out.
func commandLine(cmd *cobra.Command) string {
	words := append(strings.Fields(cmd.CommandPath()), cmd.Flags().Args()...)
	cmd.Flags().Visit(func(f *pflag.Flag) {
		values := []string{f.Value.String()}
		if list, ok := f.Value.(pflag.SliceValue); ok {
			values = list.GetSlice()
		}
		for _, v := range values {
			switch {
			case f.Name == "webhook":
			case f.Value.Type() == "bool" && v == "true":
				words = append(words, "--"+f.Name)
			default:
				words = append(words, "--"+f.Name, v)
			}
		}
	})
	for i, w := range words {
		if !plainWord.MatchString(w) {
			words[i] = "'" + strings.ReplaceAll(w, "'", `'\''`) + "'"
		}
	}
	return strings.Join(words, " ")
}

// plainWord is what a shell takes as it is.
var plainWord = regexp.MustCompile(`^[\pL\pN_@%+=:,./-]+$`)

// upperFirst begins a sentence, whose first letter must be one of a to z.
func upperFirst(s string) string { return strings.ToUpper(s[:1]) + s[1:] }
