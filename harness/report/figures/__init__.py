"""Figures as inline SVG. matplotlib draws them; the page's style sheet chooses the colours."""
