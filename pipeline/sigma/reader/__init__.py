"""Reading: rule text into the form, with every modifier and processing pipeline applied."""
