"""What a comparison returns and how it is shown: nouns, text, page and folder."""
