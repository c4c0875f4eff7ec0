"""How every tab looks: gradio's theme and the project's own style sheet, light and dark."""

from __future__ import annotations

from pathlib import Path

import gradio as gr
from gradio.themes.utils.fonts import LocalFont

ASSETS = Path(__file__).parent / "assets"
SHEETS = ("colours.css", "arena.css", "report.css", "train.css")
CSS = "\n".join((ASSETS / name).read_text(encoding="utf-8") for name in SHEETS)

# The page where people sign in comes without launch's css, but gradio's variables point to it.
_EVERYWHERE = ("colours.css", "door.css")

# Fonts that come with gradio, so that no request leaves the machine. Its files of these weights
# hold the Latin alphabet; those of many others (SemiBold ones, Lora, Source Sans 3) do not.
_FONT = (LocalFont("Source Sans Pro", (400, 700)), "ui-sans-serif", "system-ui", "sans-serif")
_MONO = (LocalFont("IBM Plex Mono", (400, 700)), "ui-monospace", "monospace")

# Gradio confines launch's css to the tabs; below them, a phone's footer begins with a stray dot.
_FOOTER = "@media (width <= 640px) { footer > .record + .divider { display: none } }"


def arena_theme() -> gr.themes.Base:
    """Gradio's variables pointed at the style sheet's, which know both light and dark."""
    theme = gr.themes.Base(
        primary_hue="indigo",
        neutral_hue="stone",
        text_size="lg",
        radius_size="lg",
        font=_FONT,
        font_mono=_MONO,
    )
    looks = {
        "body_background_fill": "var(--da-page)",
        "body_text_color": "var(--da-ink)",
        "body_text_color_subdued": "var(--da-muted)",
        "background_fill_primary": "var(--da-surface)",
        "background_fill_secondary": "var(--da-sunken)",
        "border_color_primary": "var(--da-line)",
        "border_color_accent": "var(--da-accent)",
        "color_accent": "var(--da-accent)",
        "color_accent_soft": "var(--da-sunken)",
        "link_text_color": "var(--da-accent)",
        "link_text_color_hover": "var(--da-accent)",
        "link_text_color_active": "var(--da-accent)",
        "link_text_color_visited": "var(--da-accent)",
        "block_background_fill": "var(--da-surface)",
        "block_border_color": "var(--da-line)",
        "block_label_background_fill": "var(--da-surface)",
        "block_label_text_color": "var(--da-muted)",
        "block_title_text_color": "var(--da-muted)",
        "block_info_text_color": "var(--da-muted)",
        "panel_background_fill": "var(--da-surface)",
        "input_background_fill": "var(--da-surface)",
        "input_background_fill_focus": "var(--da-surface)",
        "input_border_color": "var(--da-line)",
        "input_border_color_focus": "var(--da-accent)",
        "input_placeholder_color": "var(--da-muted)",
        "checkbox_label_background_fill": "var(--da-surface)",
        "checkbox_label_text_color": "var(--da-ink)",
        "checkbox_background_color": "var(--da-surface)",
        "checkbox_background_color_selected": "var(--da-accent)",
        "checkbox_border_color": "var(--da-line)",
        "slider_color": "var(--da-accent)",
        "loader_color": "var(--da-accent)",
        "accordion_text_color": "var(--da-ink)",
        "table_text_color": "var(--da-ink)",
        "table_border_color": "var(--da-line)",
        "table_even_background_fill": "var(--da-surface)",
        "table_odd_background_fill": "var(--da-sunken)",
        "button_primary_background_fill": "var(--da-accent)",
        "button_primary_background_fill_hover": (
            "color-mix(in srgb, var(--da-accent) 86%, var(--da-ink))"
        ),
        "button_primary_text_color": "var(--da-on-accent)",
        "button_secondary_background_fill": "var(--da-surface)",
        "button_secondary_background_fill_hover": "var(--da-sunken)",
        "button_secondary_border_color": "var(--da-line)",
        "button_secondary_border_color_hover": "var(--da-muted)",
        "button_secondary_text_color": "var(--da-ink)",
        "error_background_fill": "var(--da-error-soft)",
        "error_border_color": "var(--da-error)",
        "error_text_color": "var(--da-error)",
    }
    theme.custom_css = "\n".join(
        [*((ASSETS / name).read_text(encoding="utf-8") for name in _EVERYWHERE), _FOOTER]
    )
    dark = {f"{name}_dark": value for name, value in looks.items()}
    return theme.set(
        **looks,
        **{name: value for name, value in dark.items() if hasattr(theme, name)},
        block_shadow="none",
        block_border_width="1px",
        block_label_border_width="0px",
        input_border_width="1px",
        input_shadow="none",
        input_shadow_focus="0 0 0 3px color-mix(in srgb, var(--da-accent) 20%, transparent)",
        button_border_width="1px",
        button_primary_border_color="transparent",
        button_primary_border_color_dark="transparent",
        button_primary_border_color_hover="transparent",
        button_primary_border_color_hover_dark="transparent",
        button_large_radius="10px",
        button_medium_radius="10px",
        button_small_radius="8px",
        block_radius="var(--da-radius)",
        input_radius="10px",
    )
