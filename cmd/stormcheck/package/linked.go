//go:build ignore

// Linked prints what is linked into programs, from the module list within them:
//
//	go run linked.go copyright PROGRAM...	licenses, as Debian's copyright file (DEP-5)
//	go run linked.go sbom.json PROGRAM...	a bill of materials (CycloneDX 1.5)
//
// $VERSION and $SOURCE_DATE_EPOCH are those of the package. Modules are read from
// Go's module cache; one without a license file is an error.
package main

import (
	"cmp"
	"debug/buildinfo"
	"encoding/json"
	"fmt"
	"log"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"
)

// A component is a module, or Go's own library.
type component struct {
	path, version string
	dir           string // where its sources are
}

func main() {
	log.SetFlags(0)
	log.SetPrefix("linked: ")
	if len(os.Args) < 3 {
		log.Fatal("usage: linked copyright|sbom.json PROGRAM...")
	}
	components, err := linked(os.Args[2:])
	if err != nil {
		log.Fatal(err)
	}
	print := copyright
	if os.Args[1] == "sbom.json" {
		print = sbom
	}
	if err := print(components); err != nil {
		log.Fatal(err)
	}
}

// linked returns what any of the programs has, sorted by path.
func linked(programs []string) ([]component, error) {
	root, err := output("go", "env", "GOROOT")
	if err != nil {
		return nil, err
	}
	versions := map[string]string{}
	library := component{path: "std", dir: root}
	for _, program := range programs {
		info, err := buildinfo.ReadFile(program)
		if err != nil {
			return nil, err
		}
		library.version = strings.TrimPrefix(info.GoVersion, "go")
		for _, dep := range info.Deps {
			if dep.Replace != nil {
				dep = dep.Replace
			}
			versions[dep.Path] = dep.Version
		}
	}
	components := []component{library}
	for path, version := range versions {
		dir, err := output("go", "list", "-m", "-f", "{{.Dir}}", path)
		if err != nil {
			return nil, err
		}
		components = append(components, component{path, version, dir})
	}
	slices.SortFunc(components, func(a, b component) int { return cmp.Compare(a.path, b.path) })
	return components, nil
}

// output returns what a command prints, without its line end.
func output(name string, args ...string) (string, error) {
	out, err := exec.Command(name, args...).Output()
	if err != nil {
		return "", fmt.Errorf("%s %s: %w", name, strings.Join(args, " "), err)
	}
	return strings.TrimSpace(string(out)), nil
}

// notices returns the text of the license and notice files of a component.
func (c component) notices() (string, error) {
	var files []string
	for _, pattern := range []string{"LICENSE*", "LICENCE*", "COPYING*", "NOTICE*"} {
		found, err := filepath.Glob(filepath.Join(c.dir, pattern))
		if err != nil {
			return "", err
		}
		files = append(files, found...)
	}
	if len(files) == 0 {
		return "", fmt.Errorf("%s: no license file in %q", c.path, c.dir)
	}
	var texts []string
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			return "", err
		}
		texts = append(texts, strings.TrimSpace(string(text)))
	}
	return strings.Join(texts, "\n\n"), nil
}

// license returns the SPDX identifier of a license's text.
func license(text string) (string, error) {
	words := strings.Join(strings.Fields(text), " ")
	switch {
	case strings.Contains(words, "Apache License Version 2.0"):
		return "Apache-2.0", nil
	case strings.Contains(words, "Permission is hereby granted, free of charge"):
		return "MIT", nil
	case strings.Contains(words, "Redistribution and use in source and binary forms"):
		if strings.Contains(words, "Neither the name") {
			return "BSD-3-Clause", nil
		}
		return "BSD-2-Clause", nil
	}
	return "", fmt.Errorf("an unknown license: %.60q", text)
}

// copyright prints Debian's machine-readable copyright file.
func copyright(components []component) error {
	own, err := os.ReadFile("LICENSE")
	if err != nil {
		return err
	}
	fmt.Println("Format: https://www.debian.org/doc/packaging-manuals/copyright-format/1.0/")
	fmt.Println("Upstream-Name: stormcheck")
	if err := paragraph("*", "", string(own)); err != nil {
		return err
	}
	for _, c := range components {
		text, err := c.notices()
		if err != nil {
			return err
		}
		if err := paragraph(c.path+"/*", "Linked into the programs: "+c.path+" "+c.version, text); err != nil {
			return fmt.Errorf("%s: %w", c.path, err)
		}
	}
	return nil
}

// paragraph prints what one license holds for.
func paragraph(files, comment, text string) error {
	id, err := license(text)
	if err != nil {
		return err
	}
	var holders []string
	for _, line := range strings.Split(text, "\n") {
		line = strings.TrimSpace(line)
		if strings.HasPrefix(line, "Copyright ") && strings.ContainsAny(line, "0123456789") && !slices.Contains(holders, line) {
			holders = append(holders, line)
		}
	}
	if len(holders) == 0 {
		holders = []string{"its authors; see the license"}
	}
	fmt.Printf("\nFiles: %s\nCopyright: %s\n", files, strings.Join(holders, "\n "))
	if comment != "" {
		fmt.Println("Comment: " + comment)
	}
	fmt.Println("License: " + id)
	for _, line := range strings.Split(strings.TrimSpace(text), "\n") {
		line = strings.TrimRight(line, " \t\r\f")
		if line == "" {
			line = "."
		}
		fmt.Println(" " + line)
	}
	return nil
}

// sbom prints a CycloneDX bill of materials.
func sbom(components []component) error {
	type identity struct {
		ID string `json:"id"`
	}
	type choice struct {
		License identity `json:"license"`
	}
	type item struct {
		Type     string   `json:"type"`
		Ref      string   `json:"bom-ref"`
		Name     string   `json:"name"`
		Version  string   `json:"version"`
		Licenses []choice `json:"licenses"`
		PURL     string   `json:"purl,omitempty"`
	}
	type dependency struct {
		Ref string   `json:"ref"`
		On  []string `json:"dependsOn"`
	}
	type metadata struct {
		Timestamp string `json:"timestamp"`
		Component item   `json:"component"`
	}
	epoch, err := strconv.ParseInt(os.Getenv("SOURCE_DATE_EPOCH"), 10, 64)
	if err != nil {
		return fmt.Errorf("SOURCE_DATE_EPOCH: %w", err)
	}
	own, err := os.ReadFile("LICENSE")
	if err != nil {
		return err
	}
	id, err := license(string(own))
	if err != nil {
		return err
	}
	program := item{Type: "application", Ref: "stormcheck", Name: "stormcheck", Version: os.Getenv("VERSION"), Licenses: []choice{{identity{id}}}}
	items, on := []item{}, []string{}
	for _, c := range components {
		text, err := c.notices()
		if err != nil {
			return err
		}
		id, err := license(text)
		if err != nil {
			return fmt.Errorf("%s: %w", c.path, err)
		}
		purl := "pkg:golang/" + c.path + "@" + c.version
		items = append(items, item{"library", purl, c.path, c.version, []choice{{identity{id}}}, purl})
		on = append(on, purl)
	}
	encoder := json.NewEncoder(os.Stdout)
	encoder.SetIndent("", "  ")
	return encoder.Encode(struct {
		Format       string       `json:"bomFormat"`
		Spec         string       `json:"specVersion"`
		Version      int          `json:"version"`
		Metadata     metadata     `json:"metadata"`
		Components   []item       `json:"components"`
		Dependencies []dependency `json:"dependencies"`
	}{"CycloneDX", "1.5", 1, metadata{time.Unix(epoch, 0).UTC().Format(time.RFC3339), program}, items, []dependency{{"stormcheck", on}}})
}
