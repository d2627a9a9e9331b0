"""The languages of pages, messages and pictures: their words, and how amounts and times are written in them."""
