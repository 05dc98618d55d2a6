// Stands in for the theme's file of this name: 1.5 MB that turn icons into SVG. The theme's style
// sheet draws the same icons from its own fonts.
